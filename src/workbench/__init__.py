"""The machinery under a research project: configs, runs, sweeps and their pages.

It knows of the project what its `workbench.project.Project` says.
"""
