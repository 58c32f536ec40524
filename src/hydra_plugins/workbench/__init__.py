"""The workbench's Hydra plugins, in the only package that Hydra searches for plugins."""
