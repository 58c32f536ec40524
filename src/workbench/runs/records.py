"""Small files of a run folder: what they may hold, and the error where they do not."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import RunError

KINDS: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "error": (str,),
    "best": (str,),
    "monitor": (str,),
    "data_source": (str,),
    "identity": (str,),
    "seconds": (int, float),
    "metrics": (dict,),
    "tracked": (dict,),
}
"""What the entries of `metrics.json` are."""


def check_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Check that a run can go on with what its `metrics.json`, at `path`, holds.

    Raises:
        RunError: names the entry that is of another kind.
    """
    for name in KINDS.keys() & metrics.keys():
        if not isinstance(metrics[name], KINDS[name]) or finite(metrics[name]) is None:
            raise damaged(path, ValueError(f"its {name} is {json.dumps(metrics[name])}"))


def finite(value: Any) -> Any:
    """The same without what is None or not a finite number: JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        parts = {name: finite(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def damaged(path: Path, error: Exception) -> RunError:
    """The error of a file that nothing else depends on."""
    return RunError(f"{path} is damaged: {one_line(error)}. Remove it and try again.")


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
