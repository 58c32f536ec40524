"""Read the run folders of a sweep, in whatever state they are."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.config.build import compared_settings
from workbench.errors import RunError, UserError
from workbench.meaning import Meanings, read_meanings
from workbench.project import the_project
from workbench.runs.contents import check_inside
from workbench.runs.files import UNKNOWN
from workbench.runs.folder import RunFolder
from workbench.runs.status import status_of

FAILURE = "failure.txt"


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep, as far as its folder can be read.

    Args:
        path: its folder.
        status: as `status_of` gives it, or `damaged` if the folder cannot be read.
        error: of a run that failed, in a line.
        traceback: of that error.
        settings: those by which runs are compared, by dotted name.
        asked: the names of the settings that its sweep was asked to vary.
        metrics: by name.
        meanings: of the metrics; None if unknown.
        seconds: its duration; NaN if unknown.
        written_by: the version of the project that made it.
    """

    path: Path
    status: str
    error: str = ""
    traceback: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    meanings: Meanings | None = None
    seconds: float = math.nan
    written_by: str = UNKNOWN

    @property
    def is_done(self) -> bool:
        """True if it was completed."""
        return self.status == "completed"

    def has_model(self) -> bool:
        """True if there is a checkpoint of its best weights."""
        return RunFolder(self.path).checkpoint("best").exists()


def find_sweep(which: str, sweeps: Path) -> Path:
    """The sweep folder that `which` names: a path, a name in `sweeps`, or `latest`."""
    if which == "latest":
        configs = list(sweeps.glob("*/*/config.yaml"))
        if not configs:
            raise RunError(f"There is no sweep in {sweeps} yet; name a folder instead of `latest`.")
        return max(configs, key=lambda path: path.stat().st_mtime).parents[1]
    for path in (Path(which), sweeps / which):
        if path.is_dir():
            return path
    known = [path.name for path in sweeps.glob("*") if path.is_dir()]
    nearest = difflib.get_close_matches(which, known, 1)
    meant = f"Did you mean {nearest[0]}?" if nearest else "Name a folder of run folders."
    raise RunError(f"There is no sweep {which}, nor is one of that name in {sweeps}. {meant}")


def collect(sweep: Path) -> list[SweepRun]:
    """The runs of a sweep, ordered by name; a RunError if there are none."""
    paths = sorted(path.parent for path in sweep.glob("*/config.yaml"))
    runs = [_read(RunFolder(path), sweep) for path in paths if not path.name.startswith(".")]
    if not runs:
        raise RunError(
            f"{sweep} holds no runs: no folder in it has a config.yaml.\n"
            "A sweep folder is what a multirun names at its start, such as logs/sweeps/..."
        )
    return runs


def _read(folder: RunFolder, sweep: Path) -> SweepRun:
    traceback = ""
    try:
        check_inside(folder.path, sweep)
        failure = folder.path / FAILURE
        traceback = failure.read_text("utf-8", errors="replace") if failure.exists() else ""
        return _whole(folder, traceback)
    except (UserError, OSError) as error:
        return SweepRun(folder.path, "damaged", str(error), traceback)
    except Exception as error:  # one damaged run must not cost the page
        text = f"config.yaml or metrics.json is not what it was: {type(error).__name__}: {error}"
        return SweepRun(folder.path, "damaged", text, traceback)


def _whole(folder: RunFolder, traceback: str) -> SweepRun:
    config = folder.read_config()
    settings = compared_settings(config)
    project = the_project()
    for name in project.by_last_part:  # the same data may lie elsewhere on another machine
        if name in settings:
            settings[name] = Path(settings[name]).name
    known = folder.read_metrics()
    metrics = _numbers(known.get("metrics", {}))
    meanings = None
    if "meanings" in known:
        meanings = read_meanings(known["meanings"])
    elif project.older_meanings:
        source = known.get("data_source") or config["data"].get("source", "unknown")
        meanings, more = project.older_meanings(config, source, metrics)
        metrics |= more
    return SweepRun(
        folder.path,
        status_of(folder, known),
        str(known.get("error", "")),
        traceback,
        settings,
        tuple(config.get("varied") or ()),
        metrics,
        meanings,
        _number(known.get("seconds")),
        str(folder.written_by()),
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(v) for name, v in metrics.items() if isinstance(v, int | float)}


def _number(value: Any) -> float:
    """The value, or NaN if it is not a finite number."""
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else math.nan
