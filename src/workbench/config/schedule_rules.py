"""Check that the scheduler of a run can be stepped."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from workbench.config.blame import blaming
from workbench.config.instantiate import instantiate
from workbench.errors import ConfigError
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.optimizers.schedules import Length, Schedule, SchedulerRecipe, schedule_of
from workbench.project import Config

MOST_STEPS = 1000
"""The most steps for which a scheduler is tried."""


def check_schedule(config: Config, length: Length | None = None) -> None:
    """Step the scheduler as often as the training will, on weights of its own.

    Args:
        config: resolved.
        length: of the training; None before the data are read, when only the epochs are known.

    Raises:
        ConfigError: if it cannot be stepped, or makes the learning rate negative or not finite.
    """
    schedule = schedule_in(config)
    if schedule is None:
        return
    epochs = config["trainer"].get("max_epochs") or MOST_STEPS
    has_end = epochs > 0 or config["trainer"].get("max_steps", -1) > 0
    limit = MOST_STEPS if has_end else math.inf
    assumed = length or Length(epochs if epochs > 0 else limit, limit)
    # As many parameter groups as its lists have numbers: build_module checked that they fit.
    keywords = getattr(schedule.recipe, "keywords", {}).values()
    count = max([1, *(len(value) for value in keywords if isinstance(value, list))])
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(count)]
    groups: Any = [{"params": [weight]} for weight in weights]
    optimizer = instantiate(config["optimizer"], OptimizerRecipe, "optimizer")(groups)
    scheduler: Any = schedule.make(optimizer, assumed)
    # A scheduler with a length of its own may end before `limit` steps: until the number of steps
    # is known, it is stepped once.
    is_known = schedule.interval == "epoch" or schedule.lasts_the_training or length is not None
    steps = schedule.steps(assumed) if is_known else 1
    total = getattr(scheduler, "total_steps", steps)
    if isinstance(scheduler, OneCycleLR) and MOST_STEPS < total < steps:
        raise ConfigError(
            f"scheduler.total_steps={total}: the run has {steps}; leave it out to follow the run"
        )
    for weight in weights:
        weight.grad = torch.zeros(1)
    optimizer.step(lambda: torch.zeros(()))  # or torch would warn of a scheduler that steps first
    for number in range(1, int(min(steps, MOST_STEPS)) + 1):
        after = f"after {schedule.interval} {number * schedule.frequency}"
        with blaming(f"scheduler: cannot be stepped {after}"):
            scheduler.step(*[1.0] * schedule.by_metric)
        for lr in (group["lr"] for group in optimizer.param_groups):
            if not (math.isfinite(lr) and lr >= 0):
                raise ConfigError(f"scheduler: makes the learning rate {lr} {after}")


def schedule_in(config: Mapping[str, Any]) -> Schedule | None:
    """The scheduler of a config and when it is stepped; None if the config has none."""
    if not config.get("scheduler"):
        return None
    return schedule_of(instantiate(config["scheduler"], SchedulerRecipe, "scheduler"))
