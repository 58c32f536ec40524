"""Check in a rehearsal that a run resumes exactly, by repeating its second step."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import Metric

log = logging.getLogger(__name__)

TOLERANCE = 0.05
"""The part of a step by which weights may differ on a GPU, where some operations add in any order.
"""

LIBRARIES = ("builtins", "torch", "lightning", "workbench")


class FirstSteps(L.Callback):
    """Saves a checkpoint after the first step, and keeps the state of the module after each.

    Nothing is saved if gradients are accumulated, or if the loader would start the epoch again.

    Args:
        path: the file of the checkpoint; None to save none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.states: list[dict[str, Tensor]] = []
        self.tolerance = 0.0

    def is_saved(self) -> bool:
        """Whether there is a checkpoint, and a second step to repeat from it."""
        return self.path is not None and self.path.is_file() and len(self.states) == 2

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *rest: Any) -> None:
        """Called after all other callbacks."""
        is_exact = hasattr(trainer.train_dataloader, "state_dict")
        if is_exact and trainer.global_step == rest[-1] + 1:
            self.states.append(dict(_state(pl_module)))
            self.tolerance = 0.0 if pl_module.device.type == "cpu" else TOLERANCE
            if self.path is not None and rest[-1] == 0:
                trainer.save_checkpoint(self.path)

    def compare(self, resumed: "FirstSteps") -> None:
        """Warn if the second step after a resume was another one than without."""
        before, expected = self.states
        for found in resumed.states:  # none if a callback has stopped the training
            different = (
                name
                for name, value in expected.items()
                if _differs(value, found.get(name), before.get(name), self.tolerance)
            )
            if name := next(different, None):
                log.warning(
                    "a resumed run would not be exact: the step after a resume gives another\n"
                    "%s. Keep what changes in training where checkpoints save it: in buffers of\n"
                    "modules, in the state_dict of a callback, in the state of an optimizer",
                    name,
                )


def _differs(value: Tensor, found: Tensor | None, before: Tensor | None, tolerance: float) -> bool:
    """Whether two values differ by more than a part of the step from the value before them."""
    if found is None or found.shape != value.shape:
        return True
    step = 0.0
    if tolerance and before is not None and before.shape == value.shape:
        step = _distance(value, before)
    return _distance(value, found) > tolerance * step


def _distance(value: Tensor, other: Tensor) -> float:
    return (value.to(torch.complex128) - other.to(torch.complex128)).norm().item()


def _state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights and buffers of a module, and the numbers in attributes of its parts.

    Attributes of metrics are left out: they change no step, and their count of updates is not kept.
    """
    parts: dict[str, Any] = {
        name: part for name, part in module.named_modules() if name and not isinstance(part, Metric)
    }
    for name, value in vars(module).items():
        if type(value).__module__.partition(".")[0] not in LIBRARIES:
            parts[name] = value  # such as an objective
    for name, part in parts.items():
        for key, value in getattr(part, "__dict__", {}).items():
            if isinstance(value, Tensor):
                yield f"{name}.{key}", _copied(value)
            elif isinstance(value, int | float):
                yield f"{name}.{key}", torch.tensor(value, dtype=torch.float64)
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            yield name, _copied(value)


def _copied(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)
