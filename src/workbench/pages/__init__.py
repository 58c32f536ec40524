"""Pages that a browser opens without a network."""
