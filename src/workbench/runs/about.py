"""A run's description, from the files in its folder, as far as they can be read."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from workbench.errors import UserError
from workbench.project import the_project
from workbench.runs.curves import Curves, read_curves
from workbench.runs.files import WENT_ON
from workbench.runs.folder import RunFolder
from workbench.runs.status import status_of
from workbench.runs.weights import WEIGHTS, is_compared, load_checkpoint

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
        is_compared: false if `best` is not the best by a metric, but the final weights.
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
    """Read the files; one that is damaged is a note and no more."""
    notes: list[str] = []

    def read(name: str, reader: Callable[[], Value], kind: type[Value]) -> Value:
        try:
            return reader()
        except (OSError, ValueError, UserError) as error:
            notes.append(f"{name} cannot be read: {error}")
            return kind()

    metrics = read("metrics.json", folder.read_metrics, dict)
    is_known = not notes
    overrides = read("overrides.yaml", folder.read_overrides, list)
    environment = read("environment.txt", folder.read_environment, str)
    curves = read("The event files", lambda: read_curves(folder.path), dict)
    epoch = step = None
    compared = True
    if (folder.path / WEIGHTS).exists():
        checkpoint = status = EXPORT
    else:
        status = status_of(folder, metrics) if is_known else "unknown"
        epoch, step, compared = _progress(folder, checkpoint)
    if status not in ("completed", EXPORT, "unknown"):
        error = f": {metrics['error']}" if metrics.get("error") else ""
        notes.insert(0, f"This run was not completed, its status is {status}{error}")
    earlier, _, last = environment.rpartition(WENT_ON)
    head, _, _ = last.partition("\n\n")  # python, platform, device, commit
    trainer = config.get("trainer")
    ran = {
        "run folder": str(folder.path),
        "status": status,
        "written": metrics.get("written", "unknown"),
        "seconds of training and test": metrics.get("seconds", "unknown"),
        "epochs trained": _progress(folder, "last")[0] or "unknown",
        "precision": trainer.get("precision", "32-true")
        if isinstance(trainer, dict)
        else "unknown",
        **dict(line.split(" ", 1) for line in head.splitlines() if " " in line),
        **({"begun": "in another environment, below"} if earlier else {}),
        the_project().package: folder.written_by(),
    }
    best = compared or checkpoint != "best"
    return About(checkpoint, status, epoch, step, ran, overrides, environment, curves, notes, best)


def _progress(folder: RunFolder, checkpoint: str) -> tuple[int | None, int | None, bool]:
    """A checkpoint's epoch, counted from 1, its steps, and `is_compared` of it."""
    try:
        known = load_checkpoint(folder.checkpoint(checkpoint))
        return int(known["epoch"]) + 1, int(known["global_step"]), is_compared(known)
    except (UserError, KeyError, TypeError, ValueError):
        return None, None, True
