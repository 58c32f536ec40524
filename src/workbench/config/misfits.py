"""Check that the parts of a run fit one another, before it starts."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

import lightning as L
import torch
from torch.nn.parameter import is_lazy

from workbench.callbacks import BestAndLast
from workbench.config.build import build_callbacks, build_data, build_module
from workbench.config.places import outside
from workbench.config.problem import Problem
from workbench.config.schedule_rules import (
    check_monitor_of_schedule,
    check_schedule,
    no_such_metric,
    schedule_in,
)
from workbench.config.trainer_rules import (
    check_precision,
    check_profiler,
    check_strategy,
    check_trainer,
)
from workbench.errors import ConfigError
from workbench.foreign import is_foreign
from workbench.module import reports_of
from workbench.project import Config, lazy, the_project

SMALL = 10_000_000
"""The most weights of a module that is called small."""

NO_SHAPE = ("trainer", "callbacks", "logger", "name", "seed", "optimizer", "scheduler")
"""Entries that do not say how large a module is."""

OF_A_SERVER = ("artifact_location", "tracking_uri", "cache_dir")
"""Arguments of loggers that name places of a server or a data base, which may be anywhere."""

Tried = dict[str, tuple[str, list[str], list[str]]]
"""Results of trying a batch of small modules, by the shape of the module."""


def find_misfits(
    config: dict[str, Any], small: Tried | None = None, *, begins: bool = False
) -> Iterator[Problem]:
    """The first part that does not fit another.

    Args:
        config: resolved.
        small: keeps what was found of small modules, for the next config.
        begins: whether it is a run that begins, if need be with another's weights.
    """
    try:
        trainer = config["trainer"]
        check_strategy(trainer.get("strategy"))
        check_precision(trainer.get("precision"), trainer.get("accelerator", "auto"))
        check_profiler(trainer.get("profiler"))
        check_trainer(trainer)
        check_written_places(config)
        the_project().rules(config)
        data = build_data(config)
        tried = _try_out(config, data, {} if small is None else small, begins)
        check_schedule(config)
        callbacks = build_callbacks(config)
        if tried is None:  # it is seen in the rehearsal
            return
        examples, terms, settings = tried
        measured = {f"{stage}/{name}" for stage in ("train", "val", "test") for name in terms}
        others = (*settings, "lr", f"{examples}_per_second")
        reported = measured | {f"train/{name}" for name in others}
        if (monitor := config.get("monitor")) and monitor not in terms:
            raise ConfigError(f"monitor={monitor}: {no_such_metric(terms)}")
        check_monitors(callbacks, reported)
        check_monitor_of_schedule(config, reported)
        check_optimized(config, measured)
    except ConfigError as error:
        place, message = re.split(r"(?=[:=])", str(error), maxsplit=1)
        yield Problem(place, message)


def _try_out(
    config: Config, data: L.LightningDataModule, small: Tried, begins: bool
) -> tuple[str, list[str], list[str]] | None:
    """The word for examples, and the names of the terms and settings that a batch reports.

    None if that is not known before data have been read, or the module is foreign.

    The module is built without memory for its weights; on the CPU where it needs their values,
    where anything is wrong, so that the fault is one that a run would have, and where one of its
    shape was small, as that is faster. Then no batch is tried again: numbers that are not whole
    give a batch no other shape, and no other terms unless they are 0.
    """
    if not the_project().can_assemble(data):
        return None

    def tried(device: str) -> tuple[str, list[str], list[str]] | None:
        with torch.device(device):
            module = build_module({**config, "compile": False}, data)
        if begins:
            lazy("workbench.init_from.check_fits")(module, config)
        if is_foreign(type(module)):
            return None
        if any(map(is_lazy, module.parameters())):
            raise ConfigError("model: has lazy layers, whose shapes are not known; give them")
        if shape in small:
            return small[shape]
        found = reports_of(module).examples, *the_project().try_batch(module, data)
        if sum(weight.numel() for weight in module.parameters()) <= SMALL:
            small[shape] = found
        return found

    shape = repr(_without_floats({k: v for k, v in config.items() if k not in NO_SHAPE}))
    if shape not in small:
        with suppress(Exception):
            return tried("meta")
    return tried("cpu")


def _without_floats(node: Any) -> Any:
    """A config with the signs of its floats."""
    if isinstance(node, Mapping):
        return {key: _without_floats(value) for key, value in node.items()}
    return (node > 0) - (node < 0) if isinstance(node, float) else node


def check_monitors(callbacks: Mapping[str, L.Callback], known: Collection[str]) -> None:
    """Check the names of the metrics that callbacks look at.

    Args:
        callbacks: by their places in the config.
        known: the metrics that are reported in training.

    Raises:
        ConfigError: if there is no metric of such a name.
    """
    for place, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        # The best is chosen when a validation ends, before an epoch of training has metrics.
        stages = ("val/",) if isinstance(callback, BestAndLast) else ("train/", "val/")
        names = [name for name in known if name.startswith(stages)]
        if isinstance(monitor, str) and monitor not in names:
            raise ConfigError(f"{place}.monitor={monitor}: {no_such_metric(names)}")


def check_unvalidated(config: Mapping[str, Any], monitor: str) -> None:
    """Check that nothing goes by a metric of the validation, where there is none.

    Args:
        config: resolved.
        monitor: the module's own.

    Raises:
        ConfigError: names the setting that does.
    """
    asked = {f"{place}.monitor": c for place, c in build_callbacks(dict(config)).items()}
    monitors = {place: getattr(callback, "monitor", None) for place, callback in asked.items()}
    monitors |= {"optimized_metric": config.get("optimized_metric")}
    if (schedule := schedule_in(config)) and schedule.by_metric:
        monitors["scheduler.monitor"] = schedule.monitor or f"val/{monitor}"
    for place, name in monitors.items():
        if isinstance(name, str) and name.startswith("val/"):
            raise ConfigError(
                f"{place}={name}: there is no validation; set data.val_size and "
                "trainer.limit_val_batches above 0, or take a metric of train/"
            )


def check_written_places(config: Mapping[str, Any]) -> None:
    """Check that what a run writes stays in its folder.

    What a logger is told of a server or a data base of its own is its own affair.

    Raises:
        ConfigError: for a path out of it, and for a folder of a profiler, which would be taken
            from the working directory.
    """
    groups = {name: config.get(name) or {} for name in ("callbacks", "logger", "trainer")}
    for place, path in outside(groups):
        argument = place.rpartition(".")[2]
        if "://" not in path and argument not in OF_A_SERVER:
            raise ConfigError(f"{place}={path}: a run writes into its own folder only; take a name")
    profiler = groups["trainer"].get("profiler")
    if isinstance(profiler, Mapping) and profiler.get("dirpath") is not None:
        raise ConfigError("trainer.profiler.dirpath: is the run folder; leave it out")


def check_optimized(config: Config, measured: Collection[str]) -> None:
    """Check the name of the metric that a search goes by.

    Args:
        config: resolved.
        measured: the metrics of a run that is tested.

    Raises:
        ConfigError: if there is no such metric, or the run is not tested and it is one of the test.
    """
    asked = config.get("optimized_metric")
    if asked is None:
        return
    if str(asked).startswith("test/") and not is_tested(config):
        raise ConfigError(
            f"optimized_metric={asked}: there is no test; set test=true and "
            "trainer.limit_test_batches above 0, or take a metric of val/"
        )
    if asked not in measured:
        raise ConfigError(f"optimized_metric={asked}: {no_such_metric(measured)}")


def is_tested(config: Config) -> bool:
    """Whether the best checkpoint is measured on the test set."""
    return bool(config.get("test", True) and config["trainer"].get("limit_test_batches") != 0)
