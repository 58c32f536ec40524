"""Axes and style of all plots."""
