"""Read the run folders of a sweep, including those that are unfinished or damaged."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.config.build import compared_settings
from workbench.errors import RunError, UserError, described
from workbench.meaning import Meanings, read_meanings
from workbench.project import the_project
from workbench.runs.contents import check_inside
from workbench.runs.files import UNKNOWN
from workbench.runs.folder import RunFolder


@dataclass(frozen=True)
class SweepRun:
    """The contents of a run folder, as far as they can be read.

    Args:
        path: the run folder.
        status: the result of `RunFolder.status`, or `damaged` if the folder cannot be read.
        error: why the run failed, in one line.
        traceback: the traceback of that error.
        settings: the settings by which runs are compared, by dotted name.
        swept: dotted names of the settings that the command line varied.
        metrics: values by metric name.
        meanings: the meanings of the metrics; None if unknown.
        seconds: the duration; NaN if unknown.
        written_by: the version of the project that made the run.
    """

    path: Path
    status: str
    error: str = ""
    traceback: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    swept: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    meanings: Meanings | None = None
    seconds: float = math.nan
    written_by: str = UNKNOWN

    @property
    def is_done(self) -> bool:
        """True if the run is completed."""
        return self.status == "completed"

    def has_model(self) -> bool:
        """True if the run has a checkpoint of its best weights."""
        return RunFolder(self.path).checkpoint("best").exists()


def find_sweep(which: str, sweeps: Path) -> Path:
    """The sweep folder called `which`: a path, the name of a folder in `sweeps`, or `latest`."""
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
    advice = f"Did you mean {nearest[0]}?" if nearest else "Name a folder of run folders."
    raise RunError(f"There is no sweep {which}, and none of that name in {sweeps}. {advice}")


def collect(sweep: Path) -> list[SweepRun]:
    """The runs of a sweep, ordered by name; raises a RunError if there are none."""
    paths = sorted(path.parent for path in sweep.glob("*/config.yaml"))
    runs = [_read(RunFolder(path), sweep) for path in paths if not path.name.startswith(".")]
    if not runs:
        raise RunError(
            f"{sweep} holds no runs: no folder in it has a config.yaml.\n"
            "Name a sweep folder; a sweep prints its own as it starts, such as logs/sweeps/..."
        )
    return runs


def _read(folder: RunFolder, sweep: Path) -> SweepRun:
    traceback = ""
    try:
        check_inside(folder.path, sweep)
        failure = folder.path / "failure.txt"
        traceback = failure.read_text("utf-8", errors="replace") if failure.exists() else ""
        return _read_whole(folder, traceback)
    except (UserError, OSError) as error:
        return SweepRun(folder.path, "damaged", str(error), traceback)
    except Exception as error:  # the page must not fail because of one damaged run
        text = f"config.yaml or metrics.json is damaged: {described(error)}"
        return SweepRun(folder.path, "damaged", text, traceback)


def _read_whole(folder: RunFolder, traceback: str) -> SweepRun:
    config = folder.read_config()
    settings = compared_settings(config)
    project = the_project()
    for name in project.by_last_part:  # another machine may keep the same data elsewhere
        if name in settings:
            settings[name] = Path(settings[name]).name
    record = folder.read_metrics()
    metrics = _numbers(record.get("metrics", {}))
    meanings = None
    if "meanings" in record:
        meanings = read_meanings(record["meanings"])
    elif project.older_meanings:
        source = record.get("data_source") or config["data"].get("source", "unknown")
        meanings, derived = project.older_meanings(config, source, metrics)
        metrics |= derived
    return SweepRun(
        folder.path,
        folder.status(record),
        str(record.get("error", "")),
        traceback,
        settings,
        tuple(name.replace("/", ".") for name in config.get("varied") or ()),
        metrics,
        meanings,
        _number(record.get("seconds")),
        str(folder.written_by()),
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(v) for name, v in metrics.items() if isinstance(v, int | float)}


def _number(value: Any) -> float:
    """The value, or NaN if it is not a finite number."""
    is_finite = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_finite else math.nan
