"""The shape of an image."""

from workbench.ranges import Count

ImageShape = tuple[Count, Count, Count]
"""Channels, height and width."""
