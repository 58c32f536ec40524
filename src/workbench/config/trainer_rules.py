"""Check the settings of the trainer."""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry

from workbench.config.blame import blaming
from workbench.config.instantiate import instantiate
from workbench.config.problem import Problem, problems_of
from workbench.console import silenced
from workbench.errors import ConfigError

MACHINE_SETTINGS = ("plugins", "precision", "sync_batchnorm", "deterministic", "benchmark")
"""Settings that not every machine supports, or that change torch's global settings."""

ONE_PROCESS = {"strategy": "auto", "devices": 1, "num_nodes": 1}
ON_CPU = {"accelerator": "cpu", **ONE_PROCESS}
WITHOUT_FILES: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)

_accepted: set[str] = set()
"""Settings with which a Trainer was made."""


def check_precision(precision: str | int | None, device: str) -> None:
    """Raise a ConfigError for 16-bit floats on a CPU, where Lightning would silently use others."""
    if str(precision).startswith("16") and device == "cpu":
        raise ConfigError(
            f"trainer.precision: {precision} is for GPUs; on the CPU use bf16-mixed or 32-true"
        )


def problems_of_trainer(trainer: Mapping[str, Any]) -> Iterator[Problem]:
    """All wrong settings that do not depend on the machine, which may be a cluster's."""
    found = [*_wrong_for_all_machines(trainer)]
    yield from found
    known = {*MACHINE_SETTINGS, *ON_CPU, *(problem.place.split(".")[1] for problem in found)}
    settings = {k: v for k, v in trainer.items() if k not in known}
    if (key := repr(settings)) not in _accepted:
        refused = [*_refused(settings)]
        yield from refused
        if not refused:
            _accepted.add(key)


def _wrong_for_all_machines(trainer: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of settings that are not tried here, as they depend on the machine too."""
    accelerator, strategy = trainer.get("accelerator", "auto"), trainer.get("strategy")
    kinds = ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]
    if isinstance(accelerator, str) and accelerator not in kinds:
        yield Problem("trainer.accelerator", f"={accelerator}: there are {', '.join(kinds)}")
    if isinstance(strategy, str):
        if strategy not in ("auto", *StrategyRegistry.available_strategies()):
            yield Problem("trainer.strategy", f"={strategy}: there is no such strategy; use ddp")
        elif strategy.endswith(("_spawn", "_fork", "_notebook")):
            what = f": the processes of {strategy} do not return their metrics; use ddp"
            yield Problem("trainer.strategy", what)
    yield from problems_of(lambda: check_precision(trainer.get("precision"), accelerator))
    profiler = trainer.get("profiler")
    name = profiler["_target_"] if isinstance(profiler, dict) else profiler
    # The XLA profiler would print a traceback when it is deleted half constructed.
    if "xla" in str(name).lower() and not importlib.util.find_spec("torch_xla"):
        what = f": {name} needs torch_xla, which is not installed"
        yield Problem("trainer.profiler", what)


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
            given = {**settings, **ON_CPU}
            instantiate(given, L.Trainer, "trainer", plugins=plugins, **WITHOUT_FILES)

    return problems_of(make)
