"""Check that the machine, and the processes started on it, fit the settings of the trainer."""

import os
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from workbench.child_processes import folder_to_join
from workbench.config.blame import blaming
from workbench.errors import ConfigError
from workbench.processes import Processes
from workbench.text import counted


def check_devices(trainer: dict[str, Any]) -> None:
    """Raise a ConfigError if a run on the CPU has more processes than cores, and more than two."""
    devices = trainer.get("devices", "auto")
    count = int(devices) if str(devices).isdigit() else 1
    on_gpu = trainer.get("accelerator", "auto") != "cpu" and torch.cuda.is_available()
    cores = os.cpu_count() or 1
    if count > max(cores, 2) and not on_gpu:
        raise ConfigError(
            f"trainer.devices={devices}: would start {count} processes, and this machine has "
            f"{counted(cores, 'core')} and no GPU that the trainer would use"
        )


def check_processes(trainer: L.Trainer, processes: Processes) -> None:
    """Check that a strategy works on this machine and with the processes of the run.

    Raises:
        ConfigError: if the strategy's processes return no metrics, its checkpoints are more than
            one file, its device does not exist, or a launcher has started other processes.
    """
    strategy = trainer.strategy
    name = type(strategy).__name__
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy: the processes of {name} with start_method="
            f"{strategy.launcher._start_method} do not return their metrics; use ddp"
        )
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy):
        raise ConfigError(
            f"trainer.strategy: {name} splits the weights over devices, and a checkpoint here "
            "holds all of them; use ddp"
        )
    if isinstance(strategy.checkpoint_io, AsyncCheckpointIO):
        raise ConfigError(
            "trainer.plugins: AsyncCheckpointIO writes checkpoints in the background, but a run "
            "relies on their being complete; leave it out"
        )
    with blaming("trainer.strategy"):
        torch.empty(0, device=strategy.root_device)
    _check_launched(trainer, processes)


def _check_launched(trainer: L.Trainer, processes: Processes) -> None:
    """Check that the trainer expects the processes that a launcher has started, and no others."""
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
    started = os.environ.get("LOCAL_WORLD_SIZE", devices)  # set by torchrun
    if int(started) != devices:
        count = counted(int(started), "process")
        raise ConfigError(f"{setting}: torchrun has started {count} on this node")
    try:
        processes.launcher.validate_settings(devices, nodes)
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from error
