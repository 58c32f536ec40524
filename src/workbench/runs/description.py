"""The description of a run, read from the files of its folder other than weights."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from workbench.errors import UserError
from workbench.project import the_project
from workbench.runs.curves import Curves, read_curves
from workbench.runs.files import NEXT_ENVIRONMENT
from workbench.runs.folder import RunFolder
from workbench.runs.weights import WEIGHTS, is_best_by_metric, load_checkpoint

EXPORT = "export"
"""Stands for the checkpoint and the status of an exported run."""

Value = TypeVar("Value")


class RunDescription(NamedTuple):
    """A run, as the files of its folder describe it.

    Args:
        checkpoint: `best` or `last`, or `export` of an exported run.
        status: that of `RunFolder.status`, or `export`.
        epoch: the checkpoint's epoch, counted from 1; None if unknown.
        step: the optimizer steps at the checkpoint; None if unknown.
        facts: facts about the run, by label.
        overrides: the overrides of the command line.
        environment: packages, code and machine.
        curves: the scalars that the run logged.
        notes: sentences about an unfinished run and about files that cannot be read.
        is_best_by_metric: false if the checkpoint `best` has the final weights, for lack of a
            metric.
    """

    checkpoint: str
    status: str
    epoch: int | None
    step: int | None
    facts: dict[str, Any]
    overrides: list[str]
    environment: str
    curves: Curves
    notes: list[str]
    is_best_by_metric: bool = True

    def weights(self) -> str:
        """The weights, in words: `best checkpoint (epoch 3, step 1290)`."""
        if self.checkpoint == EXPORT:
            return "exported weights"
        known = "" if self.epoch is None else f" (epoch {self.epoch}, step {self.step})"
        kind = f"{self.checkpoint} checkpoint" if self.is_best_by_metric else "final weights"
        return f"{kind}{known}"


def describe_run(folder: RunFolder, config: Mapping[str, Any], checkpoint: str) -> RunDescription:
    """Read the description of a run; a damaged file only adds a note."""
    notes: list[str] = []

    def read(name: str, reader: Callable[[], Value], empty: type[Value]) -> Value:
        try:
            return reader()
        except (OSError, ValueError, UserError) as error:
            notes.append(f"{name} cannot be read: {error}")
            return empty()

    metrics = read("metrics.json", folder.read_metrics, dict)
    is_known = not notes
    overrides = read("overrides.yaml", folder.read_overrides, list)
    environment = read("environment.txt", folder.read_environment, str)
    curves = read("The event files", lambda: read_curves(folder.path), dict)
    epoch = step = None
    is_best = True
    if (folder.path / WEIGHTS).exists():
        checkpoint = status = EXPORT
    else:
        status = folder.status(metrics) if is_known else "unknown"
        epoch, step, is_best = _progress(folder, checkpoint)
    if status not in ("completed", EXPORT, "unknown"):
        error = f": {metrics['error']}" if metrics.get("error") else ""
        notes.insert(0, f"This run was not completed, its status is {status}{error}")
    earlier, _, last = environment.rpartition(NEXT_ENVIRONMENT)
    head, _, _ = last.partition("\n\n")  # python, platform, device, commit
    trainer = config.get("trainer")
    precision = trainer.get("precision", "32-true") if isinstance(trainer, dict) else "unknown"
    written = str(metrics.get("written", "unknown"))
    facts = {
        "run folder": str(folder.path),
        "status": status,
        "written": written.replace("T", " ", 1).replace("+00:00", " UTC"),
        "seconds of training and test": metrics.get("seconds", "unknown"),
        "epochs trained": _progress(folder, "last")[0] or "unknown",
        "precision": precision,
        **dict(line.split(" ", 1) for line in head.splitlines() if " " in line),
        **({"begun": "in another environment, below"} if earlier else {}),
        the_project().package: folder.written_by(),
    }
    is_best = is_best or checkpoint != "best"
    return RunDescription(
        checkpoint, status, epoch, step, facts, overrides, environment, curves, notes, is_best
    )


def _progress(folder: RunFolder, checkpoint: str) -> tuple[int | None, int | None, bool]:
    """A checkpoint's epoch, counted from 1, its steps, and whether it is the best by a metric."""
    try:
        found = load_checkpoint(folder.checkpoint(checkpoint))
        return int(found["epoch"]) + 1, int(found["global_step"]), is_best_by_metric(found)
    except (UserError, KeyError, TypeError, ValueError):
        return None, None, True
