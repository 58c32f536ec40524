"""The origin of a run: the command that trains it, and its sweep."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PAGE = "report.html"


class SweepLink(NamedTuple):
    """The way from a run's page to its sweep's: the sweep's name, the address, if it is there."""

    name: str
    link: str
    exists: bool


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """A run's overrides without those that only say to which sweep it belongs."""
    return [o for o in overrides if o.partition("=")[0] not in ("sweep", "varied")]


def train_command(overrides: Sequence[str]) -> str:
    """The command line that trains a run of these overrides by itself."""
    return " ".join(["python scripts/train.py", *map(shlex.quote, own_overrides(overrides))])


def sweep_of(config: Mapping[str, Any], folder: Path, place: Path) -> SweepLink | None:
    """The sweep of a run, seen from a page in its folder.

    None for a single run, and for a page elsewhere, from which no relative way leads there.
    """
    if not config.get("varied") or place != folder:
        return None
    parent = folder.absolute().parent
    return SweepLink(parent.name, f"../{PAGE}", (parent / PAGE).exists())
