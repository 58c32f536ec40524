"""The workbench's plugins of Hydra, which looks for them here alone."""
