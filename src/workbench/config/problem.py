"""A fault of a config."""

from typing import NamedTuple


class Problem(NamedTuple):
    """Something that cannot be right.

    Args:
        place: where in the config it is, dotted.
        message: what is wrong and what would be right.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}{self.message}"
