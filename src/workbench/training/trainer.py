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
from workbench.config.build import build_callbacks, compared_settings, nodes_in
from workbench.config.instantiate import instantiate
from workbench.config.targets import target_of
from workbench.config.trainer_rules import check_precision
from workbench.project import Config
from workbench.runs.folder import RunFolder
from workbench.runs.tracking import run_arguments
from workbench.training.machine import check_devices


def build_trainer(config: Config, folder: Path, first_step: int | None = None) -> L.Trainer:
    """Build the Trainer with its callbacks and loggers, all of which write into `folder`.

    If the run is resumed from `first_step`, TensorBoard drops what was logged from there on, and
    other loggers resume their run.

    Raises:
        ConfigError: if this machine lacks a device or a precision.
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
    for name, node in nodes_in(config, "logger").items():
        place = f"logger.{name}"
        defaults = run_arguments(target_of(node, Logger, place), RunFolder(folder), first_step)
        loggers.append(instantiate({**defaults, **node}, Logger, place, save_dir=str(folder)))
    for callback in callbacks:
        if isinstance(callback, OnExceptionCheckpoint):  # or it is in the working directory
            callback.dirpath = folder / callback.dirpath
    settings = config["trainer"] | {"enable_progress_bar": has_bar}  # Lightning would add its own
    # As in the validations of a fit: a module may take gradients to evaluate, which inference mode,
    # Lightning's default in a test, forbids.
    settings.setdefault("inference_mode", False)
    settings["profiler"] = settings.get("profiler") or NoProfiler()
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


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's default does, in a quarter of its time.

    Lightning enters it for each hook of each callback: 80 times a step.
    """

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """A context that does nothing."""
        return self.nothing


def _settings(config: Config) -> dict[str, Any]:
    """The settings for loggers, without those that only repeat the seed."""
    seed = config.get("seed")
    settings = compared_settings(config)
    return {n: v for n, v in settings.items() if not (n.endswith(".seed") and v == seed)}


def spare_driver_lookups() -> None:
    """Keep torch from looking for NVIDIA's driver at each optimizer step if there is no GPU.

    It does so because of an environment variable that Lightning sets when it is imported.
    """
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
