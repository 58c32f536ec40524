"""The axes and the style of all plots."""
