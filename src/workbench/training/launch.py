"""A job ready to launch: its config, and the name and place of its run folder."""

from pathlib import Path
from typing import Any, NamedTuple


class Trial(NamedTuple):
    """A trial of a search: the settings of its sweeper, and its number in the study."""

    search: dict[str, Any]
    number: int


class Launch(NamedTuple):
    """A job, as plain values.

    Args:
        config: the resolved config.
        overrides: the job's overrides, as typed or as chosen by the sweep.
        parent: the folder in which the run folder is made.
        name: the readable part of the run folder's name.
        in_sweep: whether the job is one of a sweep.
        is_named: whether the user chose the folder's name, with Hydra's own settings.
        trial: the trial of a search that the job is, if any.
    """

    config: dict[str, Any]
    overrides: list[str]
    parent: Path
    name: str
    in_sweep: bool = False
    is_named: bool = False
    trial: Trial | None = None
