"""One training run, from preparation to its records."""
