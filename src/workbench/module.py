"""The base LightningModule: epoch means, logging, early stopping and exact resume."""

import logging
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from workbench.early_stopping import stopping_reason
from workbench.epoch_means import EpochMeans
from workbench.example_values import ExampleValues
from workbench.optimized import OptimizedModule
from workbench.project import Config, late

log = logging.getLogger(__name__)

Stage = Literal["train", "val", "test"]


def reports_of(module: Any) -> Any:
    """The object that has a module's metrics: itself, or its `Reports` if it is foreign."""
    return getattr(module, "_reports", module)


class EpochMetrics(L.Callback):
    """Has a module report an epoch before other callbacks are told that it has ended.

    Lightning asks the module last, so that they would find the metrics of the epoch before in
    `trainer.callback_metrics`.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.report_epoch("train")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.report_epoch("val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.report_epoch("test")


class ReportingModule(OptimizedModule):
    """Averages the terms that its steps `add` over the examples of an epoch, and logs the means.

    A subclass writes the three steps, each of which calls `add`, and sets `optimizer`.
    Metrics are means over examples, not over batches, of all processes together. They reach
    callbacks, in all hooks at the end of an epoch, and loggers before the checkpoint of the same
    step is written. A run that is resumed in the middle of an epoch reports the same numbers as one
    that was never stopped.
    """

    examples: ClassVar[str] = "examples"
    """The word for the entries of a batch, as in `train/examples_per_second`."""

    shown: ClassVar[tuple[str, ...]] = ("loss",)
    """The metrics beside the progress bar."""

    config: Config | None
    """The config that it was built of; None if there was none."""

    def __init__(self) -> None:
        super().__init__()
        self.means: dict[str, EpochMeans] = {s: EpochMeans() for s in ("train", "val", "test")}
        self.test_values = ExampleValues()
        self.settings: dict[str, float] = {}
        self.config: Config | None = None
        self.tested_step: int | None = None
        self._validation: dict[str, float] = {}
        self._validated_step: int | None = None
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
        """The module of a checkpoint with its weights; runs no code of the file's.

        It is built of the config that the checkpoint of a run keeps. If arguments of the
        constructor are given it is built of those, as Lightning does.

        Raises:
            RunError: if the file is not a checkpoint, or does not say of what to build it.
        """
        if arguments or hparams_file:
            return super().load_from_checkpoint(
                checkpoint_path, map_location, hparams_file, strict, True, **arguments
            )
        module: Self = late("workbench.runs.opening.load_module")(cls, Path(checkpoint_path))
        return module if map_location is None else module.to(map_location)

    def add(self, stage: Stage, terms: dict[str, Tensor], **settings: float) -> None:
        """Add a batch to the metrics of an epoch.

        Args:
            stage: `train`, `val` or `test`.
            terms: of each example, `[B]` each; the names are the same in every batch.
            settings: numbers that are reported as in the last batch of training.
        """
        if stage == "train":
            self.settings = {**self.settings, **settings}
        if stage == "test":
            self.test_values.add(terms)
        self.means[stage].add(terms)

    def metrics(self, stage: Stage) -> dict[str, float]:
        """Means over the examples of the present or last epoch, on all ranks; all must call it."""
        return self.means[stage].compute(self._sum_over_ranks)

    def set_means(self, stage: Stage, names: tuple[str, ...], sums: Tensor, count: int) -> None:
        """Set the metrics of an epoch that was done elsewhere; a validation's is of now.

        Args:
            stage: `train` or `val`.
            names: of the terms.
            sums: of each over the examples.
            count: of examples.
        """
        state = {"names": names, "sums": sums, "count": count}
        self.means[stage].load_state_dict(state, self.device)
        if stage == "val":
            self._validation, self._validated_step = self.metrics("val"), self.global_step

    def validation(self) -> dict[str, float]:
        """The validation metrics of the present weights; none if they were not validated."""
        return self._validation if self._validated_step == self.global_step else {}

    def is_fitting(self) -> bool:
        """True while it is trained; a checkpoint may be opened for other reasons."""
        return self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING

    def report(self, metrics: dict[str, float]) -> None:
        """Give metrics of an epoch of training, equal on all ranks, to callbacks and loggers."""
        self.log_dict(metrics, sync_dist=True, logger=False)
        self._log_now(metrics, step=self.global_step - 1)

    def configure_callbacks(self) -> list[L.Callback]:
        """None beside the trainer's, before which its metrics are reported."""
        callbacks: list[L.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, EpochMetrics) for callback in callbacks):
            callbacks.insert(0, EpochMetrics())  # what is returned would come last
        return []

    def on_fit_start(self) -> None:
        """Train no further if early stopping had ended the run that is resumed."""
        metrics = {f"val/{name}": value for name, value in self._validation.items()}
        metrics |= {f"train/{name}": value for name, value in self.metrics("train").items()}
        for callback in self._early_stopping():
            if reason := stopping_reason(callback, metrics):
                self.trainer.should_stop = True
                log.info("early stopping had ended this run: %s; change that to train on", reason)

    def on_train_epoch_start(self) -> None:
        self._start("train")

    def on_validation_epoch_start(self) -> None:
        self._start("val")

    def on_test_epoch_start(self) -> None:
        self._start("test")
        self.test_values.reset()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log `train/..._step` every `log_every_n_steps`: the means of the last batch.

        If gradients of several batches are accumulated, the others are not in it. The learning
        rate is read here too: at the end of an epoch a scheduler has set the next one's.
        """
        self.settings = {**self.settings, "lr": optimizer.param_groups[0]["lr"]}
        every_n_steps: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every_n_steps and (self.global_step + 1) % every_n_steps == 0:
            means = self.means["train"].of_last_batch()
            self._log_now({f"train/{k}_step": v for k, v in means.items()}, step=self.global_step)

    def report_epoch(self, stage: Stage) -> None:
        """Report the metrics of the epoch that ends, if that has not been done."""
        if stage in self._reported:
            return
        if stage == "train":
            metrics = {**self.metrics("train"), **self.settings}
            named = {f"train/{name}": value for name, value in metrics.items()}
            self._reported["train"] = named
            self.report(named)
            return
        metrics = self._reported[stage] = self._report(stage)
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
        # After an error the other ranks are elsewhere.
        is_alone = self.trainer.world_size == 1 or self.trainer.interrupted
        checkpoint["epoch_means"] = self.means["train"].state_dict(
            None if is_alone else self._sum_over_ranks
        )
        checkpoint["settings"] = self.settings
        if self.config is not None:
            checkpoint["config"] = self.config
        self.add_validation(checkpoint)

    def add_validation(self, checkpoint: dict[str, Any]) -> None:
        """Add the metrics of these weights' validation, and at which step it was."""
        checkpoint["validation"] = self.validation()
        checkpoint["validated_step"] = self.global_step if self.validation() else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not self.is_fitting():
            self.tested_step = checkpoint["global_step"]
            return
        super().on_load_checkpoint(checkpoint)
        means, is_first = checkpoint["epoch_means"], self.trainer.is_global_zero
        self.means["train"].load_state_dict(means, self.device, is_first)
        self.settings = checkpoint.get("settings", {})  # absent before version 0.2
        self._validation = checkpoint.get("validation", {})
        # Absent if the validation in the checkpoint may be one of other weights.
        self._validated_step = checkpoint.get("validated_step")
        for callback in self._early_stopping():  # would take the old patience from its state
            if state := checkpoint["callbacks"].get(callback.state_key):
                state["patience"] = callback.patience

    def _log_now(self, metrics: dict[str, float], step: int) -> None:
        """Give metrics to the loggers before a checkpoint of this step is written.

        Lightning would do so after it: a run that is killed between the two and resumed would lack
        a point in its curves.
        """
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=step)

    def _sum_over_ranks(self, sums: Tensor) -> Any:
        return self.trainer.strategy.reduce(sums, reduce_op="sum")

    def _early_stopping(self) -> list[Any]:
        return [*self.trainer.early_stopping_callbacks]

    def _start(self, stage: Stage) -> None:
        self.means[stage].reset()
        self._reported.pop(stage, None)

    def _report(self, stage: Stage) -> dict[str, float]:
        metrics = self.metrics(stage)
        named = {f"{stage}/{name}": value for name, value in metrics.items()}
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            # By this name Lightning is told where loggers put it: not one step later than training.
            named["step"] = float(max(0, self.global_step - 1))
        # Equal on all ranks already; sync_dist only says that this is known.
        self.log_dict(named, sync_dist=True)
        return metrics
