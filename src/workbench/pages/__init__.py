"""HTML pages that a browser opens without a network."""
