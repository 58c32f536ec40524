"""The machinery under a research project: configs, runs, sweeps and their pages.

It knows of the project only its `workbench.project.Project`.
"""
