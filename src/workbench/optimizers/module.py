"""A LightningModule's optimizer and scheduler, their exact resume, and frozen parts."""

import logging
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from workbench.errors import ConfigError
from workbench.optimizers.joint import JointOptimizer, parts_of
from workbench.optimizers.numbers import numbers_of, set_numbers
from workbench.optimizers.parameter_groups import (
    OptimizerRecipe,
    make_optimizer,
    make_own_optimizers,
)
from workbench.optimizers.parts import frozen_modules
from workbench.optimizers.schedules import (
    UNKNOWN_LENGTH,
    Length,
    Schedule,
    SchedulerRecipe,
    length_of,
    schedule_of,
)

log = logging.getLogger(__name__)


class OptimizedModule(L.LightningModule):
    """A LightningModule that makes its optimizer and scheduler from recipes.

    A subclass or its user sets:

    - `optimizer`: parameters → optimizer.
    - `scheduler`: optimizer → scheduler, or None. A partial may also hold `interval`, `frequency`
      and `monitor`; a `total_steps` that it lacks is that of the training.
    - `parameter_groups`: settings of the optimizer by part: `{"decoder": {"lr": 1e-4}}`.
    """

    optimizer: OptimizerRecipe = Adam
    scheduler: SchedulerRecipe | None = None
    parameter_groups: Mapping[str, Any] | None = None

    monitor: str = "loss"
    """The metric that decides which checkpoint is best; lower is better."""

    frozen: tuple[str, ...] = ()
    """Parts frozen by `workbench.optimizers.parts.freeze`."""

    transferred: frozenset[str] = frozenset()
    """Weights that come from another run, which the module does not initialize."""

    planned_length: Length | None = None
    """The length of the training, if it is known before the trainer has loaded the data."""

    evaluations: int = 0
    """How often an optimizer such as LBFGS has evaluated the present batch, within its step."""

    _numbers: list[dict[str, Any]] | None = None
    _reduced_at: int | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set as torch does, without its search for weights where there can be none.

        Lightning sets the name of the current hook 40 times a step.
        """
        if name in self.__dict__ and not isinstance(value, Tensor | nn.Module):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def schedule(self) -> Schedule | None:
        """The scheduler's recipe and timing."""
        return schedule_of(self.scheduler) if self.scheduler else None

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        """Recipes for the optimizers of parts that have their own, by dotted name of the part.

        One backward pass goes through the sum of the step's loss and those of the parts, so neither
        may have a gradient for the weights of the other. A scheduler scales all step sizes.
        """
        return {}

    def train(self, mode: bool = True) -> "OptimizedModule":
        """Set the mode as torch does, but keep frozen parts in evaluation mode."""
        super().train(mode)
        for part in frozen_modules(self, self.frozen):
            part.eval()
        return self

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the trained weights, and its scheduler."""
        optimizer, scheduler = self._make_optimizer()
        self._numbers = [numbers_of(group) for group in optimizer.param_groups]
        schedule = self.schedule()
        if schedule is None or scheduler is None:
            return optimizer
        timing: dict[str, Any] = {"interval": schedule.interval, "frequency": schedule.frequency}
        if schedule.by_metric:
            timing["reduce_on_plateau"] = False  # or Lightning would look for its metric
        elif timing == {"interval": "epoch", "frequency": 1}:  # if given, Lightning may warn
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        timing["scheduler"] = scheduler
        return {"optimizer": optimizer, "lr_scheduler": timing}  # type: ignore[return-value]

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Step; if the optimizer evaluates the batch more than once, then with the same draws.

        Raises a ConfigError if it does, and gradients are accumulated.
        """

        def evaluate() -> Any:
            if self.evaluations:
                if (count := self.trainer.accumulate_grad_batches) > 1:
                    raise ConfigError(
                        f"trainer.accumulate_grad_batches={count}: set it to 1, as the optimizer "
                        "evaluates a batch more than once, and adds its gradients each time"
                    )
                self.seed_batch(batch_idx)
            loss = optimizer_closure()
            self.evaluations += 1
            return loss

        super().optimizer_step(epoch, batch_idx, optimizer, evaluate)
        self.evaluations = 0

    def seed_batch(self, batch_idx: int) -> None:
        """Seed the draws of a training batch; by default there are none."""

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of each optimizer by their own norm."""
        for part in parts_of(optimizer):
            self.clip_gradients(part, gradient_clip_val, gradient_clip_algorithm)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler, except ReduceLROnPlateau, which `step_by_metric` steps."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def step_by_metric(self, metrics: Mapping[str, float]) -> None:
        """Step ReduceLROnPlateau, before the checkpoint of the epoch is written.

        Lightning would do so afterwards, and a resumed run would lack the step.

        Args:
            metrics: those measured at the end of this epoch; nothing is stepped if the monitored
                metric is not among them.
        """
        schedule, now = self.schedule(), self.global_step
        if schedule is None or not schedule.by_metric or self._reduced_at == now:
            return
        name = schedule.monitor or f"val/{self.monitor}"
        if name in metrics and (self.current_epoch + 1) % schedule.frequency == 0:
            scheduler: Any = self.lr_schedulers()
            scheduler.step(metrics[name])
            self._reduced_at = now

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the initial settings of the optimizer, and the last step of ReduceLROnPlateau."""
        if self._numbers is not None:
            checkpoint["optimizer_numbers"] = self._numbers
        if self._reduced_at is not None:
            checkpoint["reduced_at"] = self._reduced_at

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume training with the present settings of the optimizer and its present length."""
        self._reduced_at = checkpoint.get("reduced_at")
        if type(self).configure_optimizers is OptimizedModule.configure_optimizers:
            optimizer, scheduler = self._make_optimizer()
            numbers = [numbers_of(group) for group in optimizer.param_groups]
            set_numbers(checkpoint, numbers, optimizer, scheduler)

    def _make_optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        learners = self.learners()
        optimizer = make_optimizer(self, self.optimizer, self.parameter_groups, learners)
        if others := make_own_optimizers(self, learners):
            optimizer = JointOptimizer([optimizer, *others])
        schedule = self.schedule()
        return optimizer, schedule.make(optimizer, self._length(schedule)) if schedule else None

    def _length(self, schedule: Schedule) -> Length:
        if self.planned_length or self._trainer is None or not schedule.lasts_the_training:
            return self.planned_length or UNKNOWN_LENGTH
        trainer = self.trainer
        _ = trainer.estimated_stepping_batches  # loads the data, so that their number is known
        return length_of(trainer, trainer.num_training_batches)
