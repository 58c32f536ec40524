"""A run's description, from the files in its folder, as far as they can be read."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import yaml

from workbench.errors import UserError
from workbench.project import the_project
from workbench.runs.curves import Curves, read_curves
from workbench.runs.files import WENT_ON
from workbench.runs.folder import RunFolder
from workbench.runs.status import status_of
from workbench.runs.weights import WEIGHTS, load_checkpoint

EXPORT = "export"
"""The checkpoint and the status of an exported run."""

Value = TypeVar("Value")


class About(NamedTuple):
    """A run, from the files beside its weights.

    Args:
        checkpoint: `best` or `last`, or `export` of an exported run.
        status: as `status_of` gives it, or `export`.
        epoch: the checkpoint's epoch, counted from 1; None if unknown.
        step: its optimizer steps; None if unknown.
        ran: facts about the run, by their labels.
        overrides: the command line's.
        environment: packages, code and machine.
        curves: the scalars that it logged.
        notes: in sentences: a run that was not completed, and files that cannot be read.
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

    def weights(self) -> str:
        """The weights, in words: `best checkpoint (epoch 3, step 1290)`."""
        if self.checkpoint == EXPORT:
            return "exported weights"
        known = "" if self.epoch is None else f" (epoch {self.epoch}, step {self.step})"
        return f"{self.checkpoint} checkpoint{known}"


def read_about(folder: RunFolder, config: Mapping[str, Any], checkpoint: str) -> About:
    """Read the files; one that is damaged is a note and no more."""
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
    overrides = read("overrides.yaml", folder.read_overrides, list)
    environment = read("environment.txt", folder.read_environment, str)
    curves = read("What the run logged", lambda: read_curves(folder.path), dict)
    epoch = step = None
    if (folder.path / WEIGHTS).exists():
        checkpoint = status = EXPORT
    else:
        status = status_of(folder, metrics)
        epoch, step = _progress(folder, checkpoint)
    if status not in ("completed", EXPORT):
        error = f": {metrics['error']}" if metrics.get("error") else ""
        notes.insert(0, f"This run was not completed, its status is {status}{error}")
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
    return About(checkpoint, status, epoch, step, ran, typed, environment, curves, notes)


def _progress(folder: RunFolder, checkpoint: str) -> tuple[int, int] | tuple[None, None]:
    """A checkpoint's epoch, counted from 1, and its optimizer steps."""
    try:
        known = load_checkpoint(folder.checkpoint(checkpoint))
        return int(known["epoch"]) + 1, int(known["global_step"])
    except (UserError, KeyError, TypeError, ValueError):
        return None, None
