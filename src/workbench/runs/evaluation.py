"""The files of an evaluation."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.runs.output import written_together

PAGE, METRICS, FIGURES = "report.html", "evaluation/metrics.json", "figures"
FILES = (PAGE, METRICS, f"{FIGURES}/reconstructions.png")
"""One file of each folder that is written into."""


def write_evaluation(
    place: Path, metrics: dict[str, Any], page: str, figures: Sequence[Mapping[str, bytes]]
) -> None:
    """Write all of it or nothing, and remove plots that only an earlier evaluation has.

    Args:
        place: the folder, a run's own or another.
        metrics: plain values and finite numbers; `figures` names the plots.
        page: HTML.
        figures: the files of each plot, by their names.

    Raises:
        RunError: if it cannot be written.
    """
    before = _plots(place)
    now = {name: content for files in figures for name, content in files.items()}
    files = {f"{FIGURES}/{name}": content for name, content in now.items()}
    files[METRICS] = (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode()
    files[PAGE] = page.encode("utf-8", errors="replace")
    with written_together(place) as beside:
        for name, content in files.items():
            (beside / name).parent.mkdir(exist_ok=True)
            (beside / name).write_bytes(content)
        for name in before - now.keys():
            (place / FIGURES / name).unlink(missing_ok=True)


def evaluated_checkpoint(place: Path) -> str | None:
    """The checkpoint of the evaluation that is there; None if there is none that can be read."""
    return _read(place, "checkpoint")


def finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is not a finite number, as JSON has none; `left_out` names those.

    A list that holds one is left out as a whole.
    """
    names: list[str] = []

    def kept(value: Any, place: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        lost = [name for name, part in value.items() if _is_left_out(part)]
        names.extend(f"{place}{name}" for name in lost)
        return {n: kept(part, f"{place}{n}.") for n, part in value.items() if n not in lost}

    known = kept(metrics, "")
    reason = "it is not a finite number"
    return known | ({"left_out": dict.fromkeys(names, reason)} if names else {})


def _is_left_out(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_left_out, value))
    return isinstance(value, float) and not math.isfinite(value)


def _plots(place: Path) -> set[str]:
    """The plots of the evaluation that is there; none if it cannot be read."""
    names = _read(place, "figures")
    return {Path(n).name for n in names if isinstance(n, str)} if isinstance(names, list) else set()


def _read(place: Path, entry: str) -> Any:
    try:
        return json.loads((place / METRICS).read_text("utf-8"))[entry]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
