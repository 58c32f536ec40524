"""The Trainer of a run, with the callbacks and loggers that write into its folder."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, OnExceptionCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import PassThroughProfiler

from workbench.callbacks import EpochLines, HParams
from workbench.callbacks.scalar_layout import ScalarLayout
from workbench.config.build import build_callbacks, compared_settings
from workbench.config.instantiate import instantiate
from workbench.config.targets import target_of
from workbench.config.trainer_rules import check_devices, check_precision
from workbench.project import Config
from workbench.runs.folder import RunFolder
from workbench.runs.tracking import of_this_run


def build_trainer(config: Config, folder: Path, first_step: int | None = None) -> L.Trainer:
    """The Trainer with its callbacks and loggers, all of which write into `folder`.

    If the run is resumed from `first_step`, TensorBoard drops what was logged from there on, and
    other loggers resume their run. A ConfigError says what this machine cannot do.
    """
    check_devices(config["trainer"])
    torch.set_float32_matmul_precision(config.get("matmul_precision", "highest"))
    spare_driver_lookups()
    is_shown = config["trainer"].get("enable_progress_bar", True)
    callbacks = [
        callback
        for callback in build_callbacks(config).values()
        if is_shown or not isinstance(callback, ProgressBar)
    ]
    has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    loggers = []
    for name, node in (config.get("logger") or {}).items():
        if node is not None:
            place = f"logger.{name}"
            own = of_this_run(target_of(node, Logger, place), RunFolder(folder), first_step)
            loggers.append(instantiate({**own, **node}, Logger, place, save_dir=str(folder)))
    for callback in callbacks:
        if isinstance(callback, OnExceptionCheckpoint):  # else relative to the working directory
            callback.dirpath = folder / callback.dirpath
    settings = config["trainer"] | {"enable_progress_bar": has_bar}  # Lightning would add its own
    settings["profiler"] = settings.get("profiler") or Unprofiled()
    trainer: L.Trainer = instantiate(
        settings,
        L.Trainer,
        "trainer",
        callbacks=[*callbacks, EpochLines(), ScalarLayout(), HParams(_settings(config))],
        logger=loggers or False,
        default_root_dir=str(folder),
        # Without a checkpoint callback Lightning would add its own.
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
    )
    check_precision(config["trainer"].get("precision"), trainer.strategy.root_device.type)
    return trainer


class Unprofiled(PassThroughProfiler):
    """Measures nothing, as Lightning's does, in a quarter of its time.

    Lightning enters it for every hook of every callback: 80 times a step.
    """

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """A context that does nothing."""
        return self.nothing


def _settings(config: Config) -> dict[str, Any]:
    """The settings for loggers, without further names of the one seed."""
    seed = config.get("seed")
    settings = compared_settings(config)
    return {n: v for n, v in settings.items() if not (n.endswith(".seed") and v == seed)}


def spare_driver_lookups() -> None:
    """Keep torch from looking for NVIDIA's driver at every optimizer step if there is no GPU.

    Lightning makes it do so, by an environment variable that it sets on import.
    """
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
