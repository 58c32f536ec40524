"""The optimizer's numbers: of a run that is resumed, those in its config are in force."""

from collections.abc import Mapping, Sequence
from typing import Any

Numbers = dict[str, Any]


def numbers_of(group: Mapping[str, Any]) -> Numbers:
    """The settings of a parameter group, such as `lr` and `betas`."""
    return {name: value for name, value in group.items() if name != "params"}


def set_numbers(checkpoint: dict[str, Any], numbers: Sequence[Numbers]) -> None:
    """Put changed settings into the optimizer state that a checkpoint will restore.

    What a scheduler has made of the learning rate stays in proportion.

    Args:
        checkpoint: with the settings that its optimizer was built with, `optimizer_numbers`; those
            of before version 0.3 have none, and there the state itself tells.
        numbers: those that the optimizer is built with now, of each parameter group.
    """
    (state,) = checkpoint["optimizer_states"]
    schedulers = checkpoint["lr_schedulers"]
    before = checkpoint.get("optimizer_numbers") or [_built(g) for g in state["param_groups"]]
    for i, (group, old, new) in enumerate(zip(state["param_groups"], before, numbers, strict=True)):
        changed = {name: value for name, value in new.items() if value != old.get(name, value)}
        lr = changed.pop("lr", None)
        group.update(changed)
        if lr is None:
            continue
        group["lr"] = group["lr"] * lr / old["lr"] if old["lr"] else lr
        if "initial_lr" in group:
            group["initial_lr"] = lr
        for scheduler in schedulers:
            if "base_lrs" in scheduler:
                scheduler["base_lrs"][i] = lr
            if "_last_lr" in scheduler:
                scheduler["_last_lr"][i] = group["lr"]


def _built(group: Mapping[str, Any]) -> Numbers:
    numbers = numbers_of(group)
    return numbers | {"lr": numbers.get("initial_lr", numbers["lr"])}
