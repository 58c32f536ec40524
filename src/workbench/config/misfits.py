"""Check that the parts of a run fit one another, before it starts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import lightning as L
import torch
from torch.nn.parameter import is_lazy

from workbench.config.build import build_callbacks, build_data, build_module
from workbench.config.metric_rules import check_monitors, check_optimized, no_such_metric
from workbench.config.nested import flatten
from workbench.config.places import outside
from workbench.config.problem import Problem, problems_of
from workbench.config.schedule_rules import check_schedule
from workbench.config.trainer_rules import problems_of_trainer
from workbench.errors import ConfigError
from workbench.foreign import is_foreign
from workbench.module import reports_of
from workbench.project import Config, the_project

SMALL = 10_000_000
"""The most weights of a small module."""

NOT_IN_SHAPE = ("trainer", "callbacks", "logger", "name", "seed", "optimizer", "scheduler")
"""Entries that do not change the shapes of a module's weights."""

SERVER_PLACES = ("artifact_location", "tracking_uri", "cache_dir")
"""Arguments of loggers that name places of a server or a database, which may be anywhere."""


class TrialBatch(NamedTuple):
    """What a module reports of a batch: its word for examples, and names of terms and settings."""

    examples: str
    terms: list[str]
    settings: list[str]


def find_misfits(
    config: Config,
    trials: dict[str, TrialBatch] | None = None,
    check_module: Callable[[L.LightningModule, Config], None] = lambda module, config: None,
) -> Iterator[Problem]:
    """Find settings that do not fit: all that can be checked alone, else the first of the others.

    Args:
        config: resolved.
        trials: a cache of what small modules report, by their shapes.
        check_module: a further check of the module, which may be on the device "meta".
    """
    problems = [
        *problems_of_trainer(config["trainer"]),
        *problems_of(lambda: check_written_places(config)),
        *problems_of(lambda: the_project().rules(config)),
    ]
    trials = {} if trials is None else trials
    yield from problems or problems_of(lambda: _check_parts(config, trials, check_module))


def _check_parts(
    config: Config,
    trials: dict[str, TrialBatch],
    check_module: Callable[[L.LightningModule, Config], None],
) -> None:
    data = build_data(config)
    trial = _try_batch(config, data, trials, check_module)
    check_schedule(config)
    callbacks = build_callbacks(config)
    if trial is None:  # the rehearsal checks the rest
        return
    examples, terms, settings = trial
    measured = {f"{stage}/{name}" for stage in ("train", "val", "test") for name in terms}
    others = (*settings, "lr", f"{examples}_per_second")
    if (monitor := config.get("monitor")) and monitor not in terms:
        raise ConfigError(f"monitor={monitor}: {no_such_metric(terms)}")
    check_monitors(config, callbacks, measured | {f"train/{name}" for name in others})
    check_optimized(config, measured)


def _try_batch(
    config: Config,
    data: L.LightningDataModule,
    trials: dict[str, TrialBatch],
    check_module: Callable[[L.LightningModule, Config], None],
) -> TrialBatch | None:
    """Build the module and compute the loss of a batch.

    None if the module cannot be built before data are read, or is of the user's own class.

    The module is built on the device "meta", without memory for its weights. It is built again on
    the CPU if that fails, as it may need their values, and the error should be one that a run
    would raise. If a module of the same shape was small, it is built on the CPU at once, which is
    faster, and no batch is tried: floats change neither the shapes of a batch nor its terms,
    except by their sign.
    """
    if not the_project().can_assemble(data):
        return None

    def build_and_try(device: str) -> TrialBatch | None:
        with torch.device(device):
            module = build_module({**config, "compile": False}, data)
        check_module(module, config)
        if is_foreign(type(module)):
            return None
        if any(map(is_lazy, module.parameters())):
            raise ConfigError("model: has lazy layers, whose shapes are not known; give them")
        if shape in trials:
            return trials[shape]
        trial = TrialBatch(reports_of(module).examples, *the_project().try_batch(module, data))
        if sum(weight.numel() for weight in module.parameters()) <= SMALL:
            trials[shape] = trial
        return trial

    settings = flatten({name: v for name, v in config.items() if name not in NOT_IN_SHAPE})
    signs = {n: (v > 0) - (v < 0) for n, v in settings.items() if isinstance(v, float)}
    shape = repr({**settings, **signs})
    if shape not in trials:
        with suppress(Exception):
            return build_and_try("meta")
    return build_and_try("cpu")


def check_written_places(config: Mapping[str, Any]) -> None:
    """Check that a run writes into its own folder only.

    Loggers may write to a server or a database elsewhere.

    Raises:
        ConfigError: for a path that leads out of the folder, and for a folder of a profiler, which
            would be relative to the working directory.
    """
    groups = {name: config.get(name) or {} for name in ("callbacks", "logger", "trainer")}
    for place, path in outside(groups):
        argument = place.rpartition(".")[2]
        if "://" not in path and argument not in SERVER_PLACES:
            raise ConfigError(f"{place}={path}: a run writes into its own folder only; give a name")
    profiler = groups["trainer"].get("profiler")
    if isinstance(profiler, Mapping) and profiler.get("dirpath") is not None:
        raise ConfigError("trainer.profiler.dirpath: is the run folder; leave it out")
