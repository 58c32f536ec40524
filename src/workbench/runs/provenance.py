"""The provenance of a run: the command that trains it, and its sweep."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PAGE = "report.html"


class SweepLink(NamedTuple):
    """A link from the page of a run to that of its sweep, and whether this exists."""

    name: str
    link: str
    exists: bool


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """A run's overrides without those that only name its sweep."""
    return [o for o in overrides if o.partition("=")[0] not in ("sweep", "varied")]


def train_command(overrides: Sequence[str]) -> str:
    """The command line that trains a single run with these overrides."""
    return " ".join(["python scripts/train.py", *map(shlex.quote, own_overrides(overrides))])


def sweep_of(config: Mapping[str, Any], folder: Path, place: Path) -> SweepLink | None:
    """A link to the sweep of a run, from a page in the folder `place`.

    None for a single run, and for a page that is not in the run folder, where no relative link
    would lead to the sweep.
    """
    if not config.get("varied") or place != folder:
        return None
    parent = folder.absolute().parent
    return SweepLink(parent.name, f"../{PAGE}", (parent / PAGE).exists())
