"""Checking a config, and building the objects of a run from it."""
