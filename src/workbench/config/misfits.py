"""Check that the parts of a run fit one another, before it starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from workbench.config.build import build_callbacks, build_data
from workbench.config.metric_rules import check_monitors, check_optimized, no_such_metric
from workbench.config.places import outside
from workbench.config.problem import Problem, problems_of
from workbench.config.schedule_rules import check_schedule
from workbench.config.trainer_rules import problems_of_trainer
from workbench.config.trials import Trials
from workbench.errors import ConfigError
from workbench.project import Config, the_project

SERVER_PLACES = ("artifact_location", "tracking_uri", "cache_dir")
"""Arguments of loggers that name places of a server or a database, which may be anywhere."""


def find_misfits(config: Config, trials: Trials | None = None) -> Iterator[Problem]:
    """Find settings that do not fit: all that are checked alone, else the first of the others."""
    problems = [
        *problems_of_trainer(config["trainer"]),
        *problems_of(lambda: check_written_places(config)),
        *problems_of(lambda: the_project().rules(config)),
    ]
    yield from problems or problems_of(lambda: _check_parts(config, trials or Trials()))


def _check_parts(config: Config, trials: Trials) -> None:
    trial = trials.of(config, build_data(config))
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


def check_written_places(config: Mapping[str, Any]) -> None:
    """Raise a ConfigError if a run would write outside its own folder, except to a server.

    The folder of a profiler would be relative to the working directory.
    """
    groups = {name: config.get(name) or {} for name in ("callbacks", "logger", "trainer")}
    for place, path in outside(groups):
        argument = place.rpartition(".")[2]
        if "://" not in path and argument not in SERVER_PLACES:
            raise ConfigError(f"{place}={path}: a run writes into its own folder only; give a name")
    profiler = groups["trainer"].get("profiler")
    if isinstance(profiler, Mapping) and profiler.get("dirpath") is not None:
        raise ConfigError("trainer.profiler.dirpath: is the run folder; leave it out")
