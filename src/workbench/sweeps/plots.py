"""A plot of a sweep's page, as projects give them."""

from typing import NamedTuple


class Plot(NamedTuple):
    """A plot as a `data:` address, empty if there is none, and its caption or why there is none."""

    source: str
    caption: str
