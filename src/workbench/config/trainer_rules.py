"""Rules for a trainer's settings, by the machine, the processes and the data."""

import importlib.util
import math
import os
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    StrategyRegistry,
)
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from workbench.config.blame import blaming
from workbench.config.instantiate import instantiate
from workbench.console import silenced
from workbench.distributed import Processes, folder_to_join
from workbench.errors import ConfigError

OF_THE_MACHINE = ("plugins", "precision", "sync_batchnorm", "deterministic", "benchmark")
"""Settings of the trainer that not every machine can obey, or that change those of torch."""

ALONE = {"accelerator": "cpu", "strategy": "auto", "devices": 1, "num_nodes": 1}
WITHOUT_FILES = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)

_tried: set[str] = set()
"""Settings with which a Trainer could be made."""


def check_precision(precision: str | int | None, device: str) -> None:
    """Hold a precision against the kind of device; where that is not known yet, say "auto".

    Raises:
        ConfigError: for 16-bit floats on a CPU, where Lightning would quietly take others.
    """
    if str(precision).startswith("16") and device == "cpu":
        raise ConfigError(
            f"trainer.precision: {precision} is for GPUs; on the CPU take bf16-mixed or 32-true"
        )


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Check the settings that mean the same on every machine, such as a cluster's.

    Raises:
        ConfigError: for one that Lightning does not take.
    """
    accelerator = trainer.get("accelerator", "auto")
    known = ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]
    if isinstance(accelerator, str) and accelerator not in known:
        raise ConfigError(f"trainer.accelerator={accelerator}: there are {', '.join(known)}")
    settings = {k: v for k, v in trainer.items() if k not in OF_THE_MACHINE}
    if (same := repr(settings)) not in _tried:
        with blaming("trainer"), silenced():
            plugins = [LightningEnvironment()]  # as a launcher's processes are not tried here
            instantiate(settings | ALONE, L.Trainer, "trainer", plugins=plugins, **WITHOUT_FILES)
        _tried.add(same)


def check_strategy(strategy: Any) -> None:
    """Check that there is a strategy, and that its processes run the script, as `ddp` has them do.

    Raises:
        ConfigError: for none, and for processes that hand back no metrics.
    """
    known = ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy not in known:
        raise ConfigError(f"trainer.strategy={strategy}: there is no such strategy; take ddp")
    if isinstance(strategy, str) and strategy.endswith(("_spawn", "_fork", "_notebook")):
        raise ConfigError(
            f"trainer.strategy: the processes of {strategy} keep their metrics to themselves; "
            "take ddp"
        )


def check_processes(trainer: L.Trainer, processes: Processes) -> None:
    """Check that this machine can do what a strategy is for, and that its results come back.

    Args:
        trainer: the one of the run.
        processes: those that a launcher has started for it.

    Raises:
        ConfigError: for processes that hand back no metrics, checkpoints of several files,
            devices that are not there, and other processes than the launcher has started.
    """
    strategy = trainer.strategy
    name = type(strategy).__name__
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy: the processes of {name} with start_method="
            f"{strategy.launcher._start_method} keep their metrics to themselves; take ddp"
        )
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy):
        raise ConfigError(
            f"trainer.strategy: {name} splits the weights over devices, and a checkpoint here "
            "holds them whole; take ddp"
        )
    if isinstance(strategy.checkpoint_io, AsyncCheckpointIO):
        raise ConfigError(
            "trainer.plugins: AsyncCheckpointIO writes checkpoints later, and here a checkpoint "
            "is whole once it is there; leave it out"
        )
    with blaming("trainer.strategy"):
        torch.empty(0, device=strategy.root_device)
    _check_launched(trainer, processes)


def _check_launched(trainer: L.Trainer, processes: Processes) -> None:
    """Check that the trainer has the processes that a launcher has started, and no others."""
    nodes, devices = trainer.num_nodes, trainer.num_devices
    setting = f"trainer.num_nodes={nodes} trainer.devices={devices}"
    if processes.launcher is None:
        environment = getattr(trainer.strategy, "cluster_environment", None)
        is_launched = environment and environment.creates_processes_externally
        if nodes > 1 or (nodes * devices > 1 and is_launched and folder_to_join() is None):
            raise ConfigError(
                f"{setting}: the processes of this run were not started together; start it on "
                "every node with torchrun or srun, without -m: see docs/clusters.md"
            )
        return
    if nodes * devices != processes.size:
        raise ConfigError(
            f"{setting}: the launcher has started {processes.size} processes; set "
            "trainer.num_nodes to its nodes, trainer.devices to its processes a node, and "
            "trainer.strategy=ddp"
        )
    started = os.environ.get("LOCAL_WORLD_SIZE", devices)  # torchrun's
    if int(started) != devices:
        raise ConfigError(f"{setting}: torchrun has started {started} processes on this node")
    try:
        processes.launcher.validate_settings(devices, nodes)
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from error


def check_profiler(profiler: Any) -> None:
    """Check that there is what a profiler needs; half made, XLA's would print a traceback.

    Raises:
        ConfigError: if there is not.
    """
    name = profiler["_target_"] if isinstance(profiler, dict) else profiler
    if "xla" in str(name).lower() and not importlib.util.find_spec("torch_xla"):
        raise ConfigError(f"trainer.profiler: {name} needs torch_xla, which is not installed")


def check_devices(trainer: dict[str, Any]) -> None:
    """Check that there are as many cores as there will be processes on the CPU.

    Raises:
        ConfigError: if there are fewer.
    """
    devices = trainer.get("devices", "auto")
    count = int(devices) if str(devices).isdigit() else 1
    on_gpu = trainer.get("accelerator", "auto") != "cpu" and torch.cuda.is_available()
    cores = os.cpu_count() or 1
    if count > max(cores, 2) and not on_gpu:
        raise ConfigError(
            f"trainer.devices={devices}: would start {count} processes, and this machine has "
            f"{cores} cores and no GPU that the trainer would take"
        )


def read_data(data: L.LightningDataModule, trainer: L.Trainer) -> float:
    """Read what training needs; the number of batches that an epoch takes of them.

    Infinity if the loader has no length.

    Raises:
        DataError: if they cannot be read.
        ConfigError: if an epoch has too few batches or examples for the trainer's settings.
    """
    data.trainer = trainer
    data.setup("fit")
    try:
        training, validation = data.train_dataloader(), data.val_dataloader()
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error
    # It sets both limits.
    overfit = "overfit" if getattr(trainer, "overfit_batches", 0) else None
    batches = _batches(overfit or "limit_train", batches_of(training), trainer.limit_train_batches)
    _batches(overfit or "limit_val", batches_of(validation), trainer.limit_val_batches)
    if isinstance(limit := trainer.limit_test_batches, float) and limit < 1:
        data.setup("test")
        _batches("limit_test", batches_of(data.test_dataloader()), limit)
    # One of time, as text, leaves none; Lightning takes 0 seconds for "at every batch".
    interval = getattr(trainer, "val_check_interval", None)
    over_epochs = trainer.check_val_every_n_epoch is None
    if isinstance(interval, int) and interval > batches and not over_epochs:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} batches, so take at "
            "most that, or add trainer.check_val_every_n_epoch=null to count over epochs"
        )
    return batches


def parts_measured(trainer: L.Trainer, metrics: Mapping[str, float]) -> dict[str, str]:
    """For `val` and `test`, if measured on a part of their data, which: `500 of 5,000 examples`."""
    parts = {}
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    stages = {
        "val": (data.val_dataloader, trainer.limit_val_batches),
        "test": (data.test_dataloader, trainer.limit_test_batches),
    }
    for stage, (load, limit) in stages.items():
        if not any(name.startswith(f"{stage}/") for name in metrics):
            continue
        loader = load()
        count = batches_of(loader)
        taken = _batches(f"limit_{stage}", count, limit)
        if not 0 < taken < count:
            continue
        size = getattr(loader, "batch_size", None) or 0
        step = getattr(loader, "step_size", None) or size * trainer.world_size
        if step and math.isfinite(count):
            parts[stage] = f"{taken * step:,} of {len(loader.dataset):,} examples"
        else:
            parts[stage] = f"{taken:,} batches"
    return parts


def batches_of(loader: Any) -> float:
    """The batches of a loader, or of several; infinity if one of them has no length."""
    if isinstance(loader, Mapping):
        loader = [*loader.values()]
    if isinstance(loader, list | tuple):
        return sum(map(batches_of, loader))
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # of an IterableDataset
        return math.inf


def _batches(setting: str, count: float, limit: float) -> float:
    """The number of an epoch's batches that a limit leaves, itself a number or a share.

    Args:
        setting: that says so, without its ending: `limit_val`.
        count: of an epoch.
        limit: what it says.
    """
    if math.isinf(count) and isinstance(limit, float):
        if 0 < limit < 1:
            raise ConfigError(
                f"trainer.{setting}_batches={limit}: is a share of an epoch, and the data have "
                "no length; take a number of batches"
            )
        return count if limit else 0
    taken = min(count, limit) if isinstance(limit, int) else int(count * limit)
    if count and limit and not taken:
        raise ConfigError(
            f"trainer.{setting}_batches={limit}: of {count} batches that is none; take "
            f"{1 / count:.3g} or more, or a whole number of batches"
        )
    return taken
