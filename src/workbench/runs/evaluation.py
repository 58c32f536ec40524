"""The files that an evaluation writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.config.values import is_finite
from workbench.runs.output import written_together

PAGE, METRICS, FIGURES = "report.html", "evaluation/metrics.json", "figures"
FILES = (PAGE, METRICS, f"{FIGURES}/reconstructions.png")
"""One file of each folder that is written into."""


def write_evaluation(
    place: Path, metrics: dict[str, Any], page: str, figures: Sequence[Mapping[str, bytes]]
) -> None:
    """Write all files or none, and remove plots of an earlier evaluation that are not among them.

    Args:
        place: the folder: a run's own or another.
        metrics: plain values and finite numbers; the entry `figures` names the plots.
        page: the HTML page.
        figures: the files of each plot, by name.

    Raises:
        RunError: if they cannot be written.
    """
    before = _plots(place)
    plots = {name: content for files in figures for name, content in files.items()}
    files = {f"{FIGURES}/{name}": content for name, content in plots.items()}
    files[METRICS] = (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode()
    files[PAGE] = page.encode("utf-8", errors="replace")
    with written_together(place) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(content)
        for name in before - plots.keys():
            (place / FIGURES / name).unlink(missing_ok=True)


def evaluated_checkpoint(place: Path) -> str | None:
    """The checkpoint of the evaluation in a folder; None if there is none that can be read."""
    return _read(place, "checkpoint")


def finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics without numbers that are not finite, which JSON lacks; `left_out` names these.

    A list with such a number is left out entirely.
    """
    left_out: list[str] = []

    def filtered(value: Any, place: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        broken = [name for name, part in value.items() if not is_finite(part)]
        left_out.extend(f"{place}{name}" for name in broken)
        return {n: filtered(part, f"{place}{n}.") for n, part in value.items() if n not in broken}

    rest = filtered(metrics, "")
    reason = "it is not a finite number"
    return rest | ({"left_out": dict.fromkeys(left_out, reason)} if left_out else {})


def _plots(place: Path) -> set[str]:
    """The files of plots that the evaluation in a folder names; none if it cannot be read."""
    names = _read(place, "figures")
    return {Path(n).name for n in names if isinstance(n, str)} if isinstance(names, list) else set()


def _read(place: Path, entry: str) -> Any:
    try:
        return json.loads((place / METRICS).read_text("utf-8"))[entry]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
