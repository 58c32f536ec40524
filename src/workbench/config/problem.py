"""A problem found in a config."""

from typing import NamedTuple


class Problem(NamedTuple):
    """A setting that cannot be right.

    Args:
        place: its dotted name, such as `model.width`.
        message: what is wrong and how to fix it, starting with the punctuation after the name.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}{self.message}"
