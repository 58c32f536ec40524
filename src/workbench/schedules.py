"""Schedulers of torch, when they are stepped, and how long they are."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import lightning as L
from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from workbench.errors import ConfigError
from workbench.ranges import Count, checked

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of the whole."""

SchedulerRecipe = Callable[[Optimizer], LRScheduler]
"""It may be a partial that is also given `interval`, `frequency` and `monitor`."""

TIMING: dict[str, Any] = {
    "interval": Literal["step", "epoch"],
    "frequency": Count,
    "monitor": str | None,
}
"""The entries of a config beside a scheduler's own arguments, with their types."""


class Length(NamedTuple):
    """The length of a training; infinite if it has no end."""

    epochs: float
    steps: float


UNKNOWN = Length(1000, 1000)
"""For schedulers that are made to see whether they can be."""


class Schedule(NamedTuple):
    """A scheduler, and when it is stepped.

    Args:
        recipe: optimizer → scheduler.
        interval: after each optimizer step, or each epoch.
        frequency: after so many of them.
        monitor: the metric that ReduceLROnPlateau goes by; by default the module's own.
    """

    recipe: SchedulerRecipe
    interval: Literal["step", "epoch"] = "epoch"
    frequency: int = 1
    monitor: str | None = None

    @property
    def by_metric(self) -> bool:
        """True for ReduceLROnPlateau."""
        target = getattr(self.recipe, "func", self.recipe)
        return inspect.isclass(target) and issubclass(target, ReduceLROnPlateau)

    @property
    def follows(self) -> bool:
        """True if its `total_steps` are to be those of the training."""
        given = getattr(self.recipe, "keywords", {})
        target = getattr(self.recipe, "func", self.recipe)
        takes = "total_steps" in inspect.signature(target).parameters
        return takes and all(given.get(name) is None for name in ("total_steps", "epochs"))

    def steps(self, length: Length) -> float:
        """The number of times that it is stepped, at most, in a training of that length."""
        count = length.steps if self.interval == "step" else length.epochs
        return count if math.isinf(count) else max(1, count // self.frequency)

    def make(self, optimizer: Optimizer, length: Length) -> LRScheduler:
        """The scheduler of an optimizer.

        Raises:
            ConfigError: if it is to be as long as a training that has no end, or does away with
                the step sizes of parameter groups.
        """
        own = {group["lr"] for group in optimizer.param_groups}
        scheduler = self._made(optimizer, length)
        if len(own) > 1 and len({group["lr"] for group in optimizer.param_groups}) == 1:
            raise ConfigError(
                f"scheduler: {type(scheduler).__name__} gives all parameter groups one step size; "
                "give it a list of them, or take another, such as scheduler=warmup_cosine"
            )
        return scheduler

    def _made(self, optimizer: Optimizer, length: Length) -> LRScheduler:
        if not self.follows:
            return self.recipe(optimizer)
        steps = self.steps(length)
        if math.isinf(steps):
            raise ConfigError(
                "scheduler: is as long as the training, and that has no end: set "
                "trainer.max_epochs or trainer.max_steps, or scheduler.total_steps"
            )
        recipe: Callable[..., LRScheduler] = self.recipe
        return recipe(optimizer, total_steps=int(steps))


def schedule_of(recipe: SchedulerRecipe) -> Schedule:
    """The schedule of a recipe; `interval`, `frequency` and `monitor` are taken out of a partial.

    Raises:
        ConfigError: for ReduceLROnPlateau by steps.
    """
    timing = {}
    if isinstance(recipe, functools.partial):
        timing = {name: value for name, value in recipe.keywords.items() if name in TIMING}
        own = {name: value for name, value in recipe.keywords.items() if name not in TIMING}
        recipe = functools.partial(recipe.func, *recipe.args, **own)
    schedule = Schedule(recipe, **timing)
    if schedule.by_metric and schedule.interval == "step":
        raise ConfigError(
            "scheduler.interval=step: ReduceLROnPlateau goes by a metric, which there is once an "
            "epoch; leave it out"
        )
    if schedule.monitor and not schedule.by_metric:
        raise ConfigError(
            f"scheduler.monitor={schedule.monitor}: only ReduceLROnPlateau goes by a metric; leave "
            "it out, or take scheduler=plateau"
        )
    return schedule


def length_of(trainer: L.Trainer, batches: float) -> Length:
    """The length of a training.

    Args:
        trainer: says when it ends.
        batches: of an epoch, for each process.
    """
    a_epoch = (
        batches if math.isinf(batches) else math.ceil(batches / trainer.accumulate_grad_batches)
    )
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    limit = math.inf if trainer.max_steps in (None, -1) else trainer.max_steps
    steps = min(limit, epochs * a_epoch) if epochs else 0
    if math.isfinite(steps) and math.isfinite(a_epoch):
        epochs = min(epochs, math.ceil(steps / max(1, a_epoch)))
    return Length(epochs, steps)


class WarmupCosine(LRScheduler):
    """The step size rises in a line, and falls in half a cosine (Loshchilov and Hutter 2017).

    Args:
        optimizer: whose step sizes are the highest.
        total_steps: the number of steps; after them the step size stays.
        warmup: the share of them in which it rises.
        final: the last step size, as a share of the highest.
        last_epoch: the steps that were done.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Count,
        warmup: Share = 0.05,
        final: Share = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_steps, self.warmup, self.final = total_steps, warmup, final
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The step size of each parameter group."""
        return [lr * self._share() for lr in self.base_lrs]

    def _share(self) -> float:
        rising = math.ceil(self.warmup * self.total_steps)
        if self.last_epoch < rising:
            return (self.last_epoch + 1) / (rising + 1)
        done = min(1.0, (self.last_epoch - rising) / max(1, self.total_steps - rising))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2
