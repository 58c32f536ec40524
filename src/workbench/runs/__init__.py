"""A run as a folder: its identity, config, checkpoints and results, and how to open it again."""
