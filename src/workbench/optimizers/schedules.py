"""Learning-rate schedulers: when they are stepped, and how long they last."""

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
"""A fraction."""

SchedulerRecipe = Callable[[Optimizer], LRScheduler]
"""Optimizer → scheduler; a partial may also hold `interval`, `frequency` and `monitor`."""

TIMING: dict[str, Any] = {
    "interval": Literal["step", "epoch"],
    "frequency": Count,
    "monitor": str | None,
}
"""Entries of a scheduler's config that are not arguments of its class, with their types."""


class Length(NamedTuple):
    """The length of a training; infinite if it has no end."""

    epochs: float
    steps: float


UNKNOWN_LENGTH = Length(1000, 1000)
"""For schedulers that are only made to see whether they can be."""


class Schedule(NamedTuple):
    """A scheduler, and when it is stepped.

    Args:
        recipe: optimizer → scheduler.
        interval: whether `frequency` counts optimizer steps or epochs.
        frequency: the number of intervals between its steps.
        monitor: the metric that ReduceLROnPlateau follows; by default the module's own.
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
    def lasts_the_training(self) -> bool:
        """True if its `total_steps` are those of the training."""
        given = getattr(self.recipe, "keywords", {})
        target = getattr(self.recipe, "func", self.recipe)
        takes = "total_steps" in inspect.signature(target).parameters
        return takes and all(given.get(name) is None for name in ("total_steps", "epochs"))

    def steps(self, length: Length) -> float:
        """How often it is stepped in a training of that length, at most."""
        count = length.steps if self.interval == "step" else length.epochs
        return count if math.isinf(count) else max(1, count // self.frequency)

    def make(self, optimizer: Optimizer, length: Length) -> LRScheduler:
        """Make the scheduler of an optimizer.

        Raises:
            ConfigError: if it lasts as long as the training, which has no end, or overwrites the
                different step sizes of parameter groups.
        """
        before = {group["lr"] for group in optimizer.param_groups}
        recipe: Callable[..., LRScheduler] = self.recipe
        if self.lasts_the_training:
            steps = self.steps(length)
            if math.isinf(steps):
                raise ConfigError(
                    "scheduler: lasts as long as the training, which has no end: set "
                    "trainer.max_epochs or trainer.max_steps, or scheduler.total_steps"
                )
            recipe = functools.partial(recipe, total_steps=int(steps))
        scheduler = recipe(optimizer)
        if len(before) > 1 and len({group["lr"] for group in optimizer.param_groups}) == 1:
            raise ConfigError(
                f"scheduler: {type(scheduler).__name__} gives all parameter groups one step size; "
                "give it a list of them, or choose another, such as scheduler=warmup_cosine"
            )
        return scheduler


def schedule_of(recipe: SchedulerRecipe) -> Schedule:
    """The schedule of a recipe; `interval`, `frequency` and `monitor` are removed from a partial.

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
            "scheduler.interval=step: ReduceLROnPlateau depends on a metric, which is measured "
            "once an epoch; leave it out"
        )
    if schedule.monitor and not schedule.by_metric:
        raise ConfigError(
            f"scheduler.monitor={schedule.monitor}: only ReduceLROnPlateau depends on a metric; "
            "leave it out, or use scheduler=plateau"
        )
    return schedule


def length_of(trainer: L.Trainer, batches: float) -> Length:
    """The length of a training, from the number of batches in an epoch, for each process."""
    per_epoch = batches / trainer.accumulate_grad_batches
    per_epoch = per_epoch if math.isinf(per_epoch) else math.ceil(per_epoch)
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    limit = math.inf if trainer.max_steps in (None, -1) else trainer.max_steps
    steps = min(limit, epochs * per_epoch) if epochs else 0
    if math.isfinite(steps) and math.isfinite(per_epoch):
        epochs = min(epochs, math.ceil(steps / max(1, per_epoch)))
    return Length(epochs, steps)


class WarmupCosine(LRScheduler):
    """A linear warm-up, then a decay along half a cosine (Loshchilov and Hutter 2017).

    Args:
        optimizer: the optimizer, whose step sizes are the highest.
        total_steps: the number of steps; after them the step size is constant.
        warmup: the fraction of the steps in which the step size rises.
        final: the step size after them, as a fraction of the highest.
        last_epoch: the index of the last step; −1 to begin.
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
        return [lr * self._factor() for lr in self.base_lrs]

    def _factor(self) -> float:
        rising = math.ceil(self.warmup * self.total_steps)
        if self.last_epoch < rising:
            return (self.last_epoch + 1) / (rising + 1)
        done = min(1.0, (self.last_epoch - rising) / max(1, self.total_steps - rising))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2
