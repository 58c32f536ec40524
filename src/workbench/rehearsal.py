"""Try two steps of a run on few examples, in a folder that is thrown away."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from workbench.callbacks import BestAndLast, GracefulStop, StopWhenNotFinite
from workbench.callbacks.graceful_stop import stoppable
from workbench.config.blame import blaming, ours
from workbench.config.misfits import check_optimized
from workbench.config.targets import find_class
from workbench.console import silenced
from workbench.foreign import is_foreign
from workbench.module import ReportingModule, reports_of
from workbench.project import Config, the_project
from workbench.runs.weights import load_checkpoint
from workbench.trainer import build_trainer

LEFT_OUT = (GracefulStop, StopWhenNotFinite)
"""Callbacks that show or judge what is learnt; a project's own have `only_shows = True`."""

LOCAL = (CSVLogger, TensorBoardLogger)
"""Loggers that write into the run folder only."""

TWO_STEPS = {
    "max_epochs": 1,
    "min_epochs": None,
    "max_steps": -1,
    "min_steps": None,
    "overfit_batches": 0.0,
    "limit_train_batches": 2,
    "num_sanity_val_steps": 0,
    "check_val_every_n_epoch": 1,
    "val_check_interval": 1.0,
    "enable_progress_bar": False,
    "profiler": None,
}
ONE_PROCESS = {"strategy": "auto", "devices": 1, "num_nodes": 1}


def rehearse(
    config: Config,
    module: L.LightningModule,
    data: L.LightningDataModule,
    planned: L.Trainer,
    folder: Path,
) -> None:
    """Train a copy of the module for two steps, validate it, and save and load a checkpoint.

    Callbacks that only show something are left out; those with a method `rehearse` do that once.

    Loggers that write elsewhere, and the processes that the trainer would start, are left out.

    Args:
        config: of the run.
        module: is not changed.
        data: has been read, as far as training needs it.
        planned: the trainer of the run.
        folder: receives the files.

    Raises:
        ConfigError: if any of it fails, with the setting that the fault comes from.
    """
    with silenced(), isolate_rng(), blaming("trainer", _places(config)):
        trainer = build_trainer(_rehearsed(config, planned), folder)
        tried = copy.deepcopy(module)
        if not is_foreign(type(module)):
            trainer.callbacks.append(_Shown(planned))  # type: ignore[attr-defined]
        with stoppable(trainer):
            trainer.fit(tried, datamodule=the_project().few(data))
        if (path := BestAndLast.path(trainer, "last")).is_file():
            load_checkpoint(path)
    if is_foreign(type(module)):
        _check_optimized(config, module, reports_of(tried).known())


class _Shown(L.Callback):
    """Lets the callbacks that only show something try it once, when the two steps are done."""

    def __init__(self, planned: L.Trainer) -> None:
        self.callbacks: list[L.Callback] = planned.callbacks  # type: ignore[attr-defined]

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for callback in filter(_only_shows, self.callbacks):
            if hasattr(callback, "rehearse"):
                callback.rehearse(trainer, pl_module)


def _check_optimized(config: Config, module: L.LightningModule, known: set[str]) -> None:
    """Check the name of the metric that a search goes by, of a module that was tried.

    Raises:
        ConfigError: if it logs no such metric; of the test nothing has been seen yet.
    """
    name = str(config.get("optimized_metric"))
    has_test = is_overridden("test_step", module) and name.startswith("test/")
    check_optimized(config, known | {name} if has_test else known)


def _rehearsed(config: Config, planned: L.Trainer) -> Config:
    settings = config["trainer"] | TWO_STEPS
    settings["log_every_n_steps"] = int(settings.get("log_every_n_steps") != 0)
    settings["limit_val_batches"] = int(bool(planned.limit_val_batches))
    if planned.world_size > 1 or planned.strategy.launcher is not None:
        settings |= ONE_PROCESS
    callbacks = {
        name: node
        for name, node in _described(config, "callbacks").items()
        if not _is_left_out(find_class(node["_target_"], name))
    }
    loggers = {
        name: node
        if issubclass(find_class(node["_target_"], name), LOCAL)
        else {"_target_": f"{CSVLogger.__module__}.{CSVLogger.__name__}", "name": name}
        for name, node in _described(config, "logger").items()
    }
    return {**config, "trainer": settings, "callbacks": callbacks, "logger": loggers}


def _is_left_out(callback: type) -> bool:
    return issubclass(callback, LEFT_OUT) or _only_shows(callback)


def _only_shows(callback: L.Callback | type) -> bool:
    return getattr(callback, "only_shows", False)


def _described(config: Config, group: str) -> dict[str, Any]:
    return {name: node for name, node in (config.get(group) or {}).items() if node is not None}


def _places(config: Config) -> Callable[[FrameType], str | None]:
    """A function that gives the setting which made the object whose method a frame is."""
    made = {
        find_class(node["_target_"], name): f"{group}.{name}"
        for group in ("callbacks", "logger")
        for name, node in _described(config, group).items()
    }

    def place_of(frame: FrameType) -> str | None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Optimizer):
            return "optimizer"
        if isinstance(owner, LRScheduler):
            return "scheduler"
        if isinstance(owner, ReportingModule) and frame.f_code.co_filename.startswith(ours()):
            return "model"
        return made.get(type(owner))

    return place_of
