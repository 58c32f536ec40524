"""The base LightningModule: epoch means, logging, early stopping and exact resume."""

import logging
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from workbench.early_stopping import stopping_reason
from workbench.epoch_log import EpochLog, EpochMetrics
from workbench.epoch_means import EpochMeans
from workbench.example_values import ExampleValues
from workbench.optimizers.module import OptimizedModule
from workbench.project import lazy
from workbench.stages import Stage

log = logging.getLogger(__name__)


def reports_of(module: Any) -> Any:
    """The object that holds a module's metrics: the module, or the `Reports` of a foreign one."""
    return getattr(module, "_reports", module)


class ReportingModule(EpochLog, OptimizedModule):
    """Averages the terms that its steps `add` over the examples of an epoch, and logs the means.

    A subclass defines the three steps, each of which calls `add`, and sets `optimizer`.
    Metrics are means over the examples of all processes, not over batches. They are available to
    callbacks in all hooks at the end of an epoch, and logged before the checkpoint of the same step
    is written. A run resumed in the middle of an epoch reports the same numbers as one that was
    never stopped.
    """

    examples: ClassVar[str] = "examples"
    """The word for the entries of a batch, as in `train/examples_per_second`."""

    shown: ClassVar[tuple[str, ...]] = ("loss",)
    """The metrics shown in the progress bar and in the line of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.means: dict[str, EpochMeans] = {s: EpochMeans() for s in ("train", "val", "test")}
        self.test_values = ExampleValues()
        self._reported: dict[Stage, dict[str, float]] = {}

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Self:
        """Load a module with its weights from a checkpoint, without running code from the file.

        The module is built from the config in the checkpoint of a run; if arguments of the
        constructor are given, from these, as in Lightning.

        Raises:
            RunError: if the file is not a checkpoint, or has no config to build the module from.
        """
        if arguments or hparams_file:
            return super().load_from_checkpoint(
                checkpoint_path, map_location, hparams_file, strict, True, **arguments
            )
        module: Self = lazy("workbench.runs.opening.load_module")(cls, Path(checkpoint_path))
        return module if map_location is None else module.to(map_location)

    def add(self, stage: Stage, terms: dict[str, Tensor], **settings: float) -> None:
        """Add a batch to the metrics of an epoch.

        Args:
            stage: `train`, `val` or `test`.
            terms: values of each example, `[B]`, by the same names in every batch.
            settings: numbers reported with the values that they have in the last training batch.
        """
        if stage == "train":
            if self.evaluations:
                return  # the batch is evaluated again
            self.settings = {**self.settings, **settings}
        if stage == "test":
            self.test_values.add(terms)
        self.means[stage].add(terms)

    def metrics(self, stage: Stage) -> dict[str, float]:
        """Means over the examples of all ranks in the current or last epoch; all must call it."""
        return self.means[stage].compute(self._sum_over_ranks)

    def set_means(self, stage: Stage, names: tuple[str, ...], sums: Tensor, count: int) -> None:
        """Set the metrics of an epoch that was computed elsewhere, with the present weights.

        `sums` are those of the terms of these names over `count` examples.
        """
        state = {"names": names, "sums": sums, "count": count}
        self.means[stage].load_state_dict(state, self.device)
        if stage == "val":
            self._validation, self._validated_step = self.metrics("val"), self.global_step

    def report(self, metrics: dict[str, float]) -> None:
        """Pass training metrics of an epoch, equal on all ranks, to callbacks and loggers."""
        self.log_dict(metrics, sync_dist=True, logger=False)
        self.log_now(metrics, self.global_step - 1)

    def configure_callbacks(self) -> list[L.Callback]:
        """No further callbacks; `EpochMetrics` is put before those of the trainer."""
        callbacks: list[L.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, EpochMetrics) for callback in callbacks):
            callbacks.insert(0, EpochMetrics())  # a returned one would be called last
        return []

    def on_fit_start(self) -> None:
        """Stop at once if early stopping had ended the run that is resumed."""
        metrics = {f"val/{name}": value for name, value in self._validation.items()}
        metrics |= {f"train/{name}": value for name, value in self.metrics("train").items()}
        for callback in self.trainer.early_stopping_callbacks:
            if reason := stopping_reason(callback, metrics):
                self.trainer.should_stop = True
                log.info("early stopping has ended this run: %s; change that to train on", reason)

    def on_train_epoch_start(self) -> None:
        self._begin_epoch("train")

    def on_validation_epoch_start(self) -> None:
        self._begin_epoch("val")

    def on_test_epoch_start(self) -> None:
        self._begin_epoch("test")
        self.test_values.reset()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.evaluations <= 1:
            self.log_step(optimizer)

    def report_epoch(self, stage: Stage) -> None:
        """Report the metrics of the epoch that ends, unless that was done already."""
        if stage in self._reported:
            return
        metrics = self.metrics(stage) | (self.settings if stage == "train" else {})
        named = {f"{stage}/{name}": value for name, value in metrics.items()}
        self._reported[stage] = named
        if stage == "train":
            self.report(named)
            return
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            # Lightning logs at this step instead of one step later than training.
            named = {**named, "step": float(max(0, self.global_step - 1))}
        # Equal on all ranks already; without sync_dist Lightning would warn.
        self.log_dict(named, sync_dist=True)
        if stage == "val" and not self.trainer.sanity_checking:
            self._validation, self._validated_step = metrics, self.global_step

    def on_train_epoch_end(self) -> None:
        self.report_epoch("train")
        val = {f"val/{name}": value for name, value in self.validation().items()}
        self.step_by_metric({**self._reported["train"], **val})

    def on_validation_epoch_end(self) -> None:
        self.report_epoch("val")
        if self.trainer.sanity_checking:
            self.means["val"].reset()

    def on_test_epoch_end(self) -> None:
        self.report_epoch("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        # After an error the other ranks would not join the reduction.
        is_alone = self.trainer.world_size == 1 or self.trainer.interrupted
        means = self.means["train"].state_dict(None if is_alone else self._sum_over_ranks)
        self.save_epoch(checkpoint, means)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not self.is_fitting():
            self.tested_step = checkpoint["global_step"]
            return
        super().on_load_checkpoint(checkpoint)
        means, is_first = checkpoint["epoch_means"], self.trainer.is_global_zero
        self.means["train"].load_state_dict(means, self.device, is_first)
        self.restore_epoch(checkpoint)
        for callback in self.trainer.early_stopping_callbacks:
            if state := checkpoint["callbacks"].get(callback.state_key):
                state["patience"] = callback.patience  # or the old one would be restored

    def _sum_over_ranks(self, sums: Tensor) -> Any:
        return self.trainer.strategy.reduce(sums, reduce_op="sum")

    def _begin_epoch(self, stage: Stage) -> None:
        self.means[stage].reset()
        self._reported.pop(stage, None)
