"""The metrics of a foreign LightningModule, reported as those of our own modules are."""

from collections.abc import Mapping
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.data import extract_batch_size
from torch import Tensor
from torch.optim import Optimizer

from workbench.epoch_log import EpochLog
from workbench.optimizers.parts import frozen_modules
from workbench.project import the_project
from workbench.stages import Stage, stage_of, without_stage


class LastBatch:
    """The size and the metrics of the last training batch, read like those of `EpochMeans`."""

    last_size = 0

    def __init__(self) -> None:
        self.values: dict[str, Tensor | float] = {}

    def of_last_batch(self) -> dict[str, float]:
        """The metrics; reading them waits for the device."""
        return {name: float(value) for name, value in self.values.items()}


class Reports(EpochLog, L.Callback):
    """Reports the metrics of a foreign module through the interface of a ReportingModule.

    What the module logs is reported under our names: `val_loss`, or `loss` in a validation, is
    `val/loss`, and callbacks see it under both names. Metrics of an epoch are Lightning's means
    over its batches, weighted by their sizes. Loggers get them before the checkpoint of the same
    step is written.

    Args:
        monitor: the metric that decides which checkpoint is best, without its stage.
    """

    examples: ClassVar[str] = "examples"

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.shown: tuple[str, ...] = (monitor,) if monitor == "loss" else ("loss", monitor)
        self.means = {"train": LastBatch()}
        self.transferred: frozenset[str] = frozenset()
        self.planned_length: Any = None
        self._trainer: L.Trainer | None = None
        self._names: dict[Stage, set[str]] = {"train": set(), "val": set(), "test": set()}
        self._metrics: dict[Stage, dict[str, float]] = {}

    @property
    def device(self) -> torch.device:
        """The device of the module."""
        assert self._trainer is not None
        return self._trainer.strategy.root_device

    def known(self) -> set[str]:
        """The names of the metrics logged so far, such as `val/loss`."""
        return {f"{stage}/{name}" for stage, names in self._names.items() for name in names}

    def metrics(self, stage: Stage) -> dict[str, float]:
        """The metrics of the current or last epoch, equal on all ranks."""
        if self._trainer is not None and stage_of(self._trainer) == stage:
            now = self._trainer.callback_metrics
            ours = [f"{stage}/{name}" for name in self._names[stage]]
            names = sorted(name for name in now if any(_is_of(metric, name) for metric in ours))
            self._metrics[stage] = {name.partition("/")[2]: float(now[name]) for name in names}
        return self._metrics.get(stage, {})

    def validation(self) -> dict[str, float]:
        """The validation metrics of the present weights; empty if they were not validated."""
        if self._trainer is not None and stage_of(self._trainer) == "val":
            self._validation, self._validated_step = self.metrics("val"), self._trainer.global_step
        return super().validation()

    def report(self, metrics: Mapping[str, float]) -> None:
        """Pass training metrics of an epoch, equal on all ranks, to callbacks and loggers."""
        assert self._trainer is not None
        module = self._trainer.lightning_module
        for name, value in metrics.items():
            L.LightningModule.log(module, name, value, sync_dist=True, logger=False)
        self.log_now(metrics, self._trainer.global_step - 1)

    def record(
        self, name: str, value: Any, options: dict[str, Any]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Record a value that the module logs; return the names and options to log it with."""
        stage = stage_of(self._trainer)
        if self._trainer is None or stage is None:
            return [(name, options)]
        own = without_stage(name, stage)
        options = {**options, "logger": False}
        if stage == "train" and options.get("on_epoch") is None:
            options["on_epoch"] = True
        if self._trainer.world_size > 1 and not options.get("rank_zero_only"):
            options["sync_dist"] = True  # or ranks would disagree on the best checkpoint
        self._names[stage].add(own)
        if stage == "train" and isinstance(value, Tensor | float | int):
            number = value.detach() if isinstance(value, Tensor) else value
            self.means["train"].values[own] = number
        ours = (f"{stage}/{own}", {**options, "prog_bar": False})
        return [ours] if ours[0] == name else [(name, options), ours]

    def report_epoch(self, stage: Stage) -> None:
        """Report the metrics of an epoch, after the module's own hook has run."""
        assert self._trainer is not None
        if self._trainer.sanity_checking:
            return
        metrics = self.metrics(stage)
        if stage == "val":
            self.validation()
        if stage == "train":
            metrics = {**metrics, **self.settings}
        step = max(0, self._trainer.global_step - 1)
        self.log_now({f"{stage}/{name}": value for name, value in metrics.items()}, step)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remove the panels that are made for the project's own models."""
        self._trainer = trainer
        pl_module._log_hyperparams = False  # the config has them, and HParams shows them
        trainer.callbacks = [c for c in trainer.callbacks if not _is_own_panel(c)]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep frozen parts in evaluation mode."""
        for part in frozen_modules(pl_module, getattr(pl_module, "frozen", ())):
            part.eval()

    on_train_epoch_start = on_train_start

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the size of the batch, where Lightning can determine it."""
        try:
            self.means["train"].last_size = extract_batch_size(batch)
        except (MisconfigurationException, RecursionError):
            self.means["train"].last_size = 0

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the metrics of the last batch, every `log_every_n_steps`."""
        self.log_step(optimizer)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the entries of our checkpoints, and keep only hyperparameters of plain values."""
        self.save_epoch(checkpoint, {"found": self._metrics.get("train", {})})
        key = L.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY
        if isinstance(found := checkpoint.get(key), Mapping):
            checkpoint[key] = {n: value for n, value in found.items() if _is_plain(value)}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore what was measured before."""
        if not self.is_fitting():
            self.tested_step = checkpoint["global_step"]
            return
        self.restore_epoch(checkpoint)
        self._metrics["train"] = checkpoint["epoch_means"].get("found", {})
        self._metrics["val"] = self._validation


def _is_of(metric: str, name: str) -> bool:
    """True if a logged name is a metric's, which has a suffix for one of several loaders."""
    return name == metric or name.startswith(f"{metric}/dataloader_idx_")


def _is_own_panel(callback: L.Callback) -> bool:
    of_project = type(callback).__module__.partition(".")[0] == the_project().package
    return of_project and getattr(callback, "only_shows", False)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | Tensor | None)
