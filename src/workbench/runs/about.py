"""What a run folder says of its run, as far as it can be read."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import yaml

from workbench.errors import UserError
from workbench.project import the_project
from workbench.runs.curves import Curves, read_curves
from workbench.runs.folder import WENT_ON, RunFolder
from workbench.runs.status import status_of
from workbench.runs.weights import WEIGHTS, is_compared, load_checkpoint

EXPORT = "export"
"""The checkpoint and the status of a run that is an export."""

Value = TypeVar("Value")


class About(NamedTuple):
    """A run, from the files beside its weights.

    Args:
        checkpoint: `best` or `last`, or `export` of an exported run.
        status: what became of the run, or `export`.
        epoch: the epoch that the checkpoint is of, counted from 1; None if unknown.
        step: its optimizer steps; None if unknown.
        ran: what ran, in words, by what it is.
        overrides: what was typed.
        environment: what it ran on.
        curves: what it logged.
        notes: what a reader must know, in sentences: an end that is not the proper one, and
            files that cannot be read.
        is_compared: whether the checkpoint is the best by a metric, or was not asked to be.
    """

    checkpoint: str
    status: str
    epoch: int | None
    step: int | None
    ran: dict[str, Any]
    overrides: list[str]
    environment: str
    curves: Curves
    notes: list[str]
    is_compared: bool = True

    def weights(self) -> str:
        """The weights, in words: `best checkpoint (epoch 3, step 1290)`."""
        if self.checkpoint == EXPORT:
            return "exported weights"
        known = "" if self.epoch is None else f" (epoch {self.epoch}, step {self.step})"
        kind = f"{self.checkpoint} checkpoint" if self.is_compared else "final weights"
        return f"{kind}{known}"


def read_about(folder: RunFolder, config: Mapping[str, Any], checkpoint: str) -> About:
    """Read them; one that is damaged costs a note and no more."""
    notes: list[str] = []

    def read(name: str, reader: Callable[[], Value], kind: type[Value]) -> Value:
        try:
            value = reader()
        except (OSError, ValueError, UserError, yaml.YAMLError) as error:
            notes.append(f"{name} cannot be read: {error}")
            return kind()
        if isinstance(value, kind):
            return value
        notes.append(f"{name} is damaged: it holds a {type(value).__name__}")
        return kind()

    metrics = read("metrics.json", folder.read_metrics, dict)
    is_known = not notes
    overrides = read("overrides.yaml", folder.read_overrides, list)
    environment = read("environment.txt", folder.read_environment, str)
    curves = read("What the run logged", lambda: read_curves(folder.path), dict)
    epoch = step = None
    compared = True
    if (folder.path / WEIGHTS).exists():
        checkpoint = status = EXPORT
    else:
        status = status_of(folder, metrics) if is_known else "unknown"
        epoch, step, compared = _progress(folder, checkpoint)
    if status not in ("completed", EXPORT, "unknown"):
        error = f": {metrics['error']}" if metrics.get("error") else ""
        notes.insert(0, f"This run did not come to its end, its status is {status}{error}")
    earlier, _, last = environment.rpartition(WENT_ON)
    head, _, _ = last.partition("\n\n")  # python, platform, device, commit
    trainer = config.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}
    ran = {
        "run folder": str(folder.path),
        "status": status,
        "written": metrics.get("written", "unknown"),
        "seconds of training and test": metrics.get("seconds", "unknown"),
        "epochs trained": _progress(folder, "last")[0] or "unknown",
        "precision": trainer.get("precision", "32-true"),
        **dict(line.split(" ", 1) for line in head.splitlines() if " " in line),
        **({"begun": "in another environment, below"} if earlier else {}),
        the_project().package: folder.written_by(),
    }
    typed = list(map(str, overrides))
    best = compared or checkpoint != "best"
    return About(checkpoint, status, epoch, step, ran, typed, environment, curves, notes, best)


def _progress(folder: RunFolder, checkpoint: str) -> tuple[int | None, int | None, bool]:
    """The epoch that a checkpoint is of, counted from 1, its steps, and whether it is the best."""
    try:
        known = load_checkpoint(folder.checkpoint(checkpoint))
        return int(known["epoch"]) + 1, int(known["global_step"]), is_compared(known)
    except (UserError, KeyError, TypeError, ValueError):
        return None, None, True
