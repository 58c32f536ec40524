"""Plots of many runs, and the style of all plots."""
