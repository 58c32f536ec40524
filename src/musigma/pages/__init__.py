"""The page of a run, which a browser opens without a network."""
