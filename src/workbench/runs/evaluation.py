"""What an evaluation leaves on disk."""

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
    """Write all of it or nothing; pictures of an earlier evaluation that has others are removed.

    Args:
        place: the folder, a run's own or another.
        metrics: what was found, of plain values and finite numbers; `figures` names the pictures.
        page: in HTML.
        figures: the files of each picture, by their names.

    Raises:
        RunError: if it cannot be written.
    """
    before = _pictures(place)
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


def finite(value: Any) -> Any:
    """The same with None where a number is none: JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(place: Path) -> set[str]:
    """The pictures of the evaluation that is there; none if none can be read."""
    try:
        names = json.loads((place / METRICS).read_text("utf-8"))["figures"]
        return {Path(name).name for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
