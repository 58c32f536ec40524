"""A problem found in a config."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from workbench.errors import ConfigError


class Problem(NamedTuple):
    """A setting that cannot be right.

    Args:
        place: its dotted name, such as `model.width`.
        message: what is wrong and how to fix it, starting with the punctuation after the name.
    """

    place: str
    message: str

    @classmethod
    def of(cls, error: ConfigError) -> "Problem":
        """The problem that an error names."""
        return cls(*re.split(r"(?=[:=])", str(error), maxsplit=1))

    def __str__(self) -> str:
        return f"{self.place}{self.message}"


def problems_of(check: Callable[[], object]) -> Iterator[Problem]:
    """The problem that a check raises as a ConfigError, if any."""
    try:
        check()
    except ConfigError as error:
        yield Problem.of(error)


def raise_all(problems: Iterable[Problem | str]) -> None:
    """Raise one ConfigError for all problems, if there are any, each listed once."""
    if text := "\n".join(dict.fromkeys(map(str, problems))):
        raise ConfigError(text)
