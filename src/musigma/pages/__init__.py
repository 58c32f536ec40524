"""Pages that a browser opens without a network: one of a run, one of a sweep."""
