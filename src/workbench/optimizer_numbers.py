"""The optimizer's numbers and the schedule's length, which may change when a run is resumed."""

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

    They get the values that they would have, had the run begun with them: the scheduler is stepped
    as often as it was in the run. So it is if the training, and a schedule that is as long, has
    another length now. What a metric has reduced stays reduced by the same factor.

    Args:
        checkpoint: with the settings that its optimizer was built with, `optimizer_numbers`; before
            version 0.3 it has none, and they are read from the state.
        numbers: those that the optimizer is built with now, of each parameter group.
        optimizer: built with them, and thrown away.
        scheduler: of that optimizer.
    """
    (state,) = checkpoint["optimizer_states"]
    before = checkpoint.get("optimizer_numbers") or [_built(g) for g in state["param_groups"]]
    pairs = [*zip(before, numbers, strict=True)]
    changed = [{n: v for n, v in new.items() if v != old.get(n, v)} for old, new in pairs]
    if not any(changed) and not _has_other_length(checkpoint, scheduler):
        return
    if isinstance(scheduler, ReduceLROnPlateau):
        for group, kept, (old, _) in zip(
            optimizer.param_groups, state["param_groups"], pairs, strict=True
        ):
            group["lr"] *= kept["lr"] / old["lr"] if old["lr"] else 1.0
    elif scheduler is not None:
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.scheduler_progress"]
        for _ in range(progress["total"]["completed"]):
            optimizer.step(lambda: 0.0)  # which torch wants before the scheduler's, on no gradients
            scheduler.step()
        checkpoint["lr_schedulers"] = [scheduler.state_dict()]
    for group, new in zip(state["param_groups"], optimizer.param_groups, strict=True):
        group.update(numbers_of(new))


def _has_other_length(checkpoint: Mapping[str, Any], scheduler: LRScheduler | None) -> bool:
    states = checkpoint.get("lr_schedulers")
    before = states[0].get("total_steps") if states else None
    now = getattr(scheduler, "total_steps", None)
    if before is None or now is None or before == now:
        return False
    log.info(
        "the schedule is as long as the training:\n"
        "it ends after %d steps now, and not after %d; the step size is the one that\n"
        "it has there in a run that began so",
        now,
        before,
    )
    return True


def _built(group: Mapping[str, Any]) -> Numbers:
    numbers = numbers_of(group)
    return numbers | {"lr": numbers.get("initial_lr", numbers["lr"])}
