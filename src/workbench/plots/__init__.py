"""Plots of many runs, and what all plots share."""
