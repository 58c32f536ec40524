"""Check the settings of the trainer, and whether the machine and the processes fit them."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
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

from workbench.child_processes import folder_to_join
from workbench.config.blame import blaming
from workbench.config.instantiate import instantiate
from workbench.config.problem import Problem, problems_of
from workbench.console import silenced
from workbench.errors import ConfigError
from workbench.processes import Processes

MACHINE_SETTINGS = ("plugins", "precision", "sync_batchnorm", "deterministic", "benchmark")
"""Settings that not every machine supports, or that change torch's global settings."""

ONE_PROCESS = {"accelerator": "cpu", "strategy": "auto", "devices": 1, "num_nodes": 1}
WITHOUT_FILES = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)

_accepted: set[str] = set()
"""Settings with which a Trainer was made."""


def check_precision(precision: str | int | None, device: str) -> None:
    """Check that a kind of device supports a precision.

    Args:
        precision: the trainer's.
        device: such as `cpu`; `auto` if it is not known yet.

    Raises:
        ConfigError: for 16-bit floats on a CPU, where Lightning would silently use others.
    """
    if str(precision).startswith("16") and device == "cpu":
        raise ConfigError(
            f"trainer.precision: {precision} is for GPUs; on the CPU use bf16-mixed or 32-true"
        )


def problems_of_trainer(trainer: Mapping[str, Any]) -> Iterator[Problem]:
    """All wrong settings that do not depend on the machine, which may be a cluster's."""
    accelerator = trainer.get("accelerator", "auto")
    found = [
        *problems_of(lambda: check_accelerator(accelerator)),
        *problems_of(lambda: check_strategy(trainer.get("strategy"))),
        *problems_of(lambda: check_precision(trainer.get("precision"), accelerator)),
        *problems_of(lambda: check_profiler(trainer.get("profiler"))),
    ]
    yield from found
    known = {*MACHINE_SETTINGS, *ONE_PROCESS, *(problem.place.split(".")[1] for problem in found)}
    settings = {k: v for k, v in trainer.items() if k not in known}
    if (key := repr(settings)) not in _accepted:
        refused = [*_refused(settings)]
        yield from refused
        if not refused:
            _accepted.add(key)


def _refused(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """The settings that Lightning refuses; `trainer` for a fault of several together."""
    while problem := next(_refusal(settings), None):
        each = {name: {"_target_": settings["_target_"], name: settings[name]} for name in settings}
        wrong = [name for name, alone in each.items() if problem in _refusal(alone)]
        if not wrong or "_target_" in wrong:
            yield problem
            return
        place = f"trainer.{wrong[0]}" if problem.place == "trainer" else problem.place
        yield Problem(place, problem.message)
        settings = {name: value for name, value in settings.items() if name != wrong[0]}


def _refusal(settings: Mapping[str, Any]) -> Iterator[Problem]:
    def make() -> None:
        with blaming("trainer"), silenced():
            plugins = [LightningEnvironment()]  # or Lightning would join a launcher's processes
            given = {**settings, **ONE_PROCESS}
            instantiate(given, L.Trainer, "trainer", plugins=plugins, **WITHOUT_FILES)

    return problems_of(make)


def check_accelerator(accelerator: Any) -> None:
    """Check that a kind of device exists.

    Raises:
        ConfigError: for an unknown one.
    """
    known = ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]
    if isinstance(accelerator, str) and accelerator not in known:
        raise ConfigError(f"trainer.accelerator={accelerator}: there are {', '.join(known)}")


def check_strategy(strategy: Any) -> None:
    """Check that a strategy exists and that its processes run the script, as those of `ddp` do.

    Raises:
        ConfigError: for an unknown strategy, and for one whose processes return no metrics.
    """
    known = ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy not in known:
        raise ConfigError(f"trainer.strategy={strategy}: there is no such strategy; use ddp")
    if isinstance(strategy, str) and strategy.endswith(("_spawn", "_fork", "_notebook")):
        raise ConfigError(
            f"trainer.strategy: the processes of {strategy} do not return their metrics; use ddp"
        )


def check_processes(trainer: L.Trainer, processes: Processes) -> None:
    """Check that a strategy works on this machine and with the processes of the run.

    Args:
        trainer: of the run.
        processes: of the run, which a launcher may have started.

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
        raise ConfigError(f"{setting}: torchrun has started {started} processes on this node")
    try:
        processes.launcher.validate_settings(devices, nodes)
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from error


def check_profiler(profiler: Any) -> None:
    """Check that the package that a profiler needs is installed.

    The XLA profiler would print a traceback when it is deleted half constructed.

    Raises:
        ConfigError: if it is not.
    """
    name = profiler["_target_"] if isinstance(profiler, dict) else profiler
    if "xla" in str(name).lower() and not importlib.util.find_spec("torch_xla"):
        raise ConfigError(f"trainer.profiler: {name} needs torch_xla, which is not installed")


def check_devices(trainer: dict[str, Any]) -> None:
    """Check that there are enough cores for the processes of a run on the CPU.

    Raises:
        ConfigError: if there are fewer cores than processes, and more than two processes.
    """
    devices = trainer.get("devices", "auto")
    count = int(devices) if str(devices).isdigit() else 1
    on_gpu = trainer.get("accelerator", "auto") != "cpu" and torch.cuda.is_available()
    cores = os.cpu_count() or 1
    if count > max(cores, 2) and not on_gpu:
        raise ConfigError(
            f"trainer.devices={devices}: would start {count} processes, and this machine has "
            f"{cores} cores and no GPU that the trainer would use"
        )
