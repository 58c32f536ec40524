"""Changes of the optimizer's numbers and of the schedule's length when a run is resumed."""

import logging
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

log = logging.getLogger(__name__)

Numbers = dict[str, Any]


def numbers_of(group: Mapping[str, Any]) -> Numbers:
    """The settings of a parameter group, such as `lr` and `betas`."""
    return {name: value for name, value in group.items() if name != "params"}


def set_numbers(
    checkpoint: dict[str, Any],
    numbers: list[Numbers],
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
) -> None:
    """Put changed settings into the optimizer state that a checkpoint will restore.

    Settings get the values that they would have if the run had begun with them, by stepping the new
    scheduler as often as the run's. So do those of a schedule that is as long as the training, if
    this has another length now. A step size that ReduceLROnPlateau has reduced stays reduced by the
    same factor.

    Args:
        checkpoint: `optimizer_numbers` are the settings that its optimizer was built with; before
            version 0.3 they are missing, and read from the optimizer's state.
        numbers: the settings of each parameter group now.
        optimizer: a new one with these settings, which is not used for training.
        scheduler: that of the new optimizer.
    """
    (state,) = checkpoint["optimizer_states"]
    groups = state["param_groups"]
    before = checkpoint.get("optimizer_numbers") or [_initial_numbers(group) for group in groups]
    is_changed = any(
        value != old.get(name, value)
        for old, new in zip(before, numbers, strict=True)
        for name, value in new.items()
    )
    if not is_changed and not _has_other_length(checkpoint, scheduler):
        return
    if isinstance(scheduler, ReduceLROnPlateau):
        for group, saved, old in zip(optimizer.param_groups, groups, before, strict=True):
            group["lr"] *= saved["lr"] / old["lr"] if old["lr"] else 1.0
    elif scheduler is not None:
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.scheduler_progress"]
        for _ in range(progress["total"]["completed"]):
            optimizer.step(lambda: 0.0)  # torch wants one first; without gradients it does nothing
            scheduler.step()
        checkpoint["lr_schedulers"] = [scheduler.state_dict()]
    for saved, new in zip(groups, optimizer.param_groups, strict=True):
        saved.update(numbers_of(new))


def _has_other_length(checkpoint: Mapping[str, Any], scheduler: LRScheduler | None) -> bool:
    states = checkpoint.get("lr_schedulers")
    before = states[0].get("total_steps") if states else None
    now = getattr(scheduler, "total_steps", None)
    if before is None or now is None or before == now:
        return False
    log.info(
        "the schedule is as long as the training:\n"
        "it now ends after %d steps instead of %d; the step size is what it would be\n"
        "if the run had begun with this length",
        now,
        before,
    )
    return True


def _initial_numbers(group: Mapping[str, Any]) -> Numbers:
    numbers = numbers_of(group)
    return numbers | {"lr": numbers.get("initial_lr", numbers["lr"])}
