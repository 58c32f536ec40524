"""Rehearse a run: two steps on a few examples, in a temporary folder."""

import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
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
from workbench.child_processes import folder_to_join
from workbench.config.batch_limits import read_data
from workbench.config.blame import blaming, project_folders
from workbench.config.build import nodes_in
from workbench.config.metric_rules import check_optimized, check_unvalidated
from workbench.config.nested import flatten
from workbench.config.schedule_rules import check_schedule
from workbench.config.targets import find_class
from workbench.config.trainer_rules import ONE_PROCESS
from workbench.console import silenced
from workbench.foreign import is_foreign
from workbench.loader_workers import naming_lost_workers
from workbench.loaders import has_batches
from workbench.module import ReportingModule, reports_of
from workbench.optimizers.schedules import length_of
from workbench.processes import Processes
from workbench.project import Config, the_project
from workbench.runs.restorable import check_readable
from workbench.training.machine import check_processes
from workbench.training.resume_check import FirstSteps
from workbench.training.trainer import build_trainer

LEFT_OUT = (GracefulStop, StopWhenNotFinite)
"""Callbacks that make no sense in two steps, besides those with `only_shows = True`."""

LOCAL = (CSVLogger, TensorBoardLogger)
"""Loggers that write only into the run folder."""

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

_resumed: set[frozenset[Any]] = set()
"""The classes of runs of which this process has resumed one: the jobs of a sweep share them."""


def check_and_rehearse(
    config: Config,
    module: L.LightningModule,
    data: L.LightningDataModule,
    processes: Processes,
    *,
    is_trained: bool = False,
) -> None:
    """Check the trainer, and rehearse the run unless it is trained already."""
    with TemporaryDirectory() as folder:
        with blaming("trainer"):
            trainer = build_trainer(config, Path(folder))
        check_processes(trainer, processes)
        batches = read_data(data, trainer)
        reports = reports_of(module)
        reports.planned_length = length_of(trainer, batches)
        check_schedule(config, reports.planned_length)
        if not (trainer.limit_val_batches and has_batches(data.val_dataloader())):
            check_unvalidated(config, reports.monitor)
        if folder_to_join() is None and processes.rank == 0 and not is_trained:
            rehearse(config, module, data, trainer, Path(folder))


def rehearse(
    config: Config,
    module: L.LightningModule,
    data: L.LightningDataModule,
    planned: L.Trainer,
    folder: Path,
) -> None:
    """Train a copy of the module for two steps, validate it, and save and load a checkpoint.

    Callbacks that only show something are left out, but their method `rehearse`, if they have one,
    is called after the two steps. Loggers that write elsewhere are left out, and no processes are
    started.

    Args:
        config: the config of the run.
        module: the module, which is not changed.
        data: read as far as training needs them.
        planned: the trainer of the run.
        folder: for the files of the rehearsal.

    Raises:
        ConfigError: if any of it fails, with the setting that caused the failure.
    """
    kinds = frozenset(v for k, v in flatten(config).items() if k.endswith("_target_"))
    is_known = kinds in _resumed or config.get("compile")  # compiling twice would take long
    first = FirstSteps(folder / "first.ckpt")
    own = "module" if is_foreign(type(module)) else None
    callbacks: list[L.Callback] = [] if own else [_RehearsePanels(planned)]
    callbacks += [] if is_known else [first]

    def fit(place: Path, *callbacks: L.Callback, path: Path | None = None) -> L.Trainer:
        trainer = build_trainer(_rehearsal_config(config, planned), place)
        trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
        copied, shortened = copy.deepcopy(module), the_project().shorten(data)
        with stoppable(trainer), naming_lost_workers():
            trainer.fit(copied, datamodule=shortened, ckpt_path=path, weights_only=True)
        return trainer

    with silenced(), isolate_rng(), blaming("trainer", _setting_finder(config, own)):
        trainer = fit(folder, *callbacks)
        again = FirstSteps(None)
        if (path := BestAndLast.path(trainer, "last")).is_file():
            check_readable(path, type(module).__name__)
            if first.is_saved():
                fit(folder / "resumed", again, path=first.path)
    if again.states:
        first.compare(again)
        _resumed.add(kinds)
    if own:
        known = reports_of(trainer.lightning_module).known()
        _check_optimized_metric(config, module, known)


class _RehearsePanels(L.Callback):
    """Rehearses the callbacks that only show something, after the two steps."""

    def __init__(self, planned: L.Trainer) -> None:
        self.callbacks: list[L.Callback] = planned.callbacks  # type: ignore[attr-defined]

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for callback in filter(_only_shows, self.callbacks):
            if hasattr(callback, "rehearse"):
                callback.rehearse(trainer, pl_module)


def _check_optimized_metric(config: Config, module: L.LightningModule, known: set[str]) -> None:
    """Check that a foreign module logs the metric that a search optimizes, if not in its test."""
    name = str(config.get("optimized_metric"))
    has_test = is_overridden("test_step", module) and name.startswith("test/")
    check_optimized(config, known | {name} if has_test else known)


def _rehearsal_config(config: Config, planned: L.Trainer) -> Config:
    settings = config["trainer"] | TWO_STEPS
    settings["log_every_n_steps"] = int(settings.get("log_every_n_steps") != 0)
    settings["limit_val_batches"] = int(bool(planned.limit_val_batches))
    if planned.world_size > 1 or planned.strategy.launcher is not None:
        settings |= ONE_PROCESS
    callbacks = {
        name: node
        for name, node in nodes_in(config, "callbacks").items()
        if not _is_left_out(find_class(node["_target_"], name))
    }
    loggers = {
        name: node
        if issubclass(find_class(node["_target_"], name), LOCAL)
        else {"_target_": f"{CSVLogger.__module__}.{CSVLogger.__name__}", "name": name}
        for name, node in nodes_in(config, "logger").items()
    }
    return {**config, "trainer": settings, "callbacks": callbacks, "logger": loggers}


def _is_left_out(callback: type) -> bool:
    return issubclass(callback, LEFT_OUT) or _only_shows(callback)


def _only_shows(callback: L.Callback | type) -> bool:
    return getattr(callback, "only_shows", False)


def _setting_finder(config: Config, own: str | None) -> Callable[[FrameType], str | None]:
    """A function that maps a frame to the setting that made the object whose method runs in it."""
    settings = {
        find_class(node["_target_"], name): f"{group}.{name}"
        for group in ("callbacks", "logger")
        for name, node in nodes_in(config, group).items()
    }

    def setting_of(frame: FrameType) -> str | None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Optimizer):
            return own or "optimizer"  # a foreign module makes its own
        if isinstance(owner, LRScheduler):
            return own or "scheduler"
        is_project_code = frame.f_code.co_filename.startswith(project_folders())
        if isinstance(owner, ReportingModule) and is_project_code:
            return "model"
        return settings.get(type(owner))

    return setting_of
