"""The checkpoints of a run: the best and the last."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from weakref import proxy

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from workbench.errors import ConfigError
from workbench.loaders import has_batches
from workbench.loggers import summary_writers
from workbench.module import reports_of
from workbench.ranges import checked

Name = Literal["best", "last"]


class BestAndLast(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` after every epoch, `best.ckpt` after the best validation.

    Each file is written under another name, synced to the disk and renamed, so a file of either
    name is always complete. The `last.ckpt` before it is kept as `previous.ckpt`.

    For the Trainer and loggers it is a ModelCheckpoint: `ckpt_path="best"` and `"last"`,
    `best_model_path` and `best_model_score` refer to these files. Its state holds no path, so that
    a run has the same checkpoints wherever its folder lies.

    Args:
        monitor: the metric that decides which is best; by default the module's `monitor`. Without
            validation data, or while the metric is NaN in each validation, the last checkpoint is
            also the best.
        mode: `min` if lower is better, `max` if higher is; NaN never is.

    Raises:
        ConfigError: after the sanity check, if no such metric is reported.
    """

    @checked
    def __init__(self, monitor: str | None = None, mode: Literal["min", "max"] = "min") -> None:
        super().__init__(monitor=monitor, mode=mode)
        self.best: float | None = None

    @property
    def state_key(self) -> str:
        """The same for every monitor, which is part of the state."""
        return type(self).__qualname__

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.metric = self.monitor or f"val/{reports_of(pl_module).monitor}"
        self.dirpath = str(self.path(trainer, "last").parent)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if trainer.sanity_checking and len(trainer.num_sanity_val_batches) > 1:
            return  # Lightning keeps no metrics of several loaders then
        score = self._score(trainer)
        if not trainer.sanity_checking and self.judge(score):
            self.save(trainer, "best")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.save(trainer, "last")
        # While there is no value to compare, the last is also the best.
        if self.best is None and (
            reports_of(pl_module).validation() or not has_validation(trainer)
        ):
            self.save(trainer, "best")

    def add_validation(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the final weights, validated after training, compete for the best.

        The validation is added to their checkpoint, `last.ckpt`; every rank must call this.
        """
        score = self._score(trainer)
        names: list[Name] = ["last"]
        if self.judge(score) or self.best is None:
            names = ["best", "last"]  # a run that is killed in between does both again
        last = self.path(trainer, "last")
        if trainer.is_global_zero and last.is_file():
            checkpoint = torch.load(last, map_location="cpu", weights_only=True)
            if checkpoint["global_step"] == trainer.global_step:
                reports_of(pl_module).add_validation(checkpoint)
                checkpoint["callbacks"][self.state_key] = self.state_dict()
                for name in names:
                    self.replace(trainer, name, lambda partial: torch.save(checkpoint, partial))
        trainer.strategy.barrier()

    def save(self, trainer: L.Trainer, name: Name) -> None:
        """Replace the checkpoint of that name with the current state; every rank must call this."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.replace(trainer, name, trainer.save_checkpoint)
            trainer.strategy.barrier()

    def replace(self, trainer: L.Trainer, name: Name, write: Callable[[Path], Any]) -> None:
        """Replace the checkpoint of that name with a file that `write` writes."""
        path = self.path(trainer, name)
        partial = path.with_suffix(".partial")
        try:
            write(partial)
            if trainer.is_global_zero:
                for writer in summary_writers(trainer):  # so that curves have no gap on resuming
                    writer.flush()
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                if name == "last" and path.exists():
                    path.replace(path.with_stem("previous"))
                partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self._update_attributes(path.parent)
        for logger in trainer.loggers if trainer.is_global_zero else []:
            logger.after_save_checkpoint(proxy(self))

    def _update_attributes(self, folder: Path) -> None:
        """Set the attributes that the Trainer and loggers read from a ModelCheckpoint."""
        paths = {name: folder / f"{name}.ckpt" for name in ("best", "last")}
        found = {name: str(path) if path.is_file() else "" for name, path in paths.items()}
        self.best_model_path, self.last_model_path = found["best"], found["last"]
        self.best_model_score = None if self.best is None else torch.tensor(self.best)

    @staticmethod
    def path(trainer: L.Trainer, name: Name) -> Path:
        """The file of the checkpoint of that name."""
        return Path(trainer.default_root_dir) / "checkpoints" / f"{name}.ckpt"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "monitor": self.metric, "mode": self.mode}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score so far, unless another metric decides now."""
        now = {"monitor": self.metric, "mode": self.mode}
        if all(state_dict.get(name, value) == value for name, value in now.items()):
            self.best = state_dict["best"]
        self._update_attributes(Path(str(self.dirpath)))

    def _find_last_checkpoints(self, trainer: L.Trainer) -> set[str]:
        """The file that Lightning uses for `ckpt_path="last"`."""
        last = self.path(trainer, "last")
        return {str(last)} if last.is_file() else set()

    def _score(self, trainer: L.Trainer) -> float:
        if self.metric not in trainer.callback_metrics:
            default = f"monitor={self.metric.removeprefix('val/')}"
            setting = f"callbacks.checkpoint.monitor={self.monitor}" if self.monitor else default
            names = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise ConfigError(
                f"{setting} is not among the metrics of a validation: {', '.join(names)}; set "
                "monitor to one of them, without val/"
                if names
                else f"{setting}: the best checkpoint is chosen by a metric, and validation_step "
                "logs none: add self.log('val_loss', ...)"
            )
        return float(trainer.callback_metrics[self.metric])

    def judge(self, score: float) -> bool:
        """Return whether a score is the best so far, and remember it if so."""
        if math.isnan(score):
            return False
        best, sign = self.best, 1 if self.mode == "min" else -1
        is_better = best is None or math.isnan(best) or sign * score < sign * best
        if is_better:
            self.best = score
        return is_better


def has_validation(trainer: L.Trainer) -> bool:
    """True if there are validation data, and validation is not switched off."""
    if not trainer.enable_validation:
        return False
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return data is None or has_batches(data.val_dataloader())


def best_checkpoint(trainer: L.Trainer) -> Path | None:
    """The best checkpoint of `BestAndLast`, or else that of Lightning's own callback, if any."""
    lightnings = [
        Path(callback.best_model_path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
    ]
    paths = [BestAndLast.path(trainer, "best"), *lightnings]
    return next((path for path in paths if path.is_file()), None)
