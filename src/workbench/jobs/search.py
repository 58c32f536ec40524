"""A search's settings: what it may choose, and Optuna's sampler and pruner, which choose."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from workbench.config.problem import Problem
from workbench.errors import ConfigError, described
from workbench.jobs import hydra_adapter
from workbench.jobs.messages import needs_extra
from workbench.project import Config

SEARCHER = "hydra_plugins.workbench.search_sweeper.SearchSweeper"
"""The sweeper of searches."""

PLACE = "hydra.sweeper"
OPTUNA_OBJECTS = ("sampler", "pruner")
"""Settings of the sweeper that describe objects of Optuna, or of a trusted package."""

TRIALS = 3
"""Empty trials by which a sampler and a pruner are tried: some need packages that are missing."""


class Search(NamedTuple):
    """What the trials of a search have in common.

    Args:
        arguments: the overrides of one trial, for a launcher.
        space: Optuna's distribution of each setting that the search chooses, by its name.
    """

    arguments: Sequence[str]
    space: dict[str, Any]

    def arguments_of(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of the trial with the chosen values."""
        keys = [text.partition("=")[0] for text in self.arguments]
        names = [key.lstrip("+") for key in keys]
        return [
            f"{key}={chosen[name]}" if name in chosen else text
            for key, name, text in zip(keys, names, self.arguments, strict=True)
        ]


def optuna() -> Any:
    """Import Optuna, without its log line for each trial.

    Raises:
        ConfigError: if it is not installed, or too old to keep studies in journals.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # an old Optuna warns about its database
            import optuna
            import optuna.storages.journal
    except ImportError as error:
        raise ConfigError(f"hydra/sweeper=search: {needs_extra('optuna')}") from error
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def examples_of(override: Any) -> list[str]:
    """Overrides of single jobs by which a search is checked: all choices, the ends of a range.

    Raises:
        ValueError: if a range holds no number.
    """
    if not override.is_sweep_override():
        return [*hydra_adapter.strings_of(override)]
    numbers = hydra_adapter.numbers_of(override)
    values = hydra_adapter.choices_of(override) if numbers is None else [numbers.low, numbers.high]
    return [f"{override.get_key_element()}={value}" for value in values]


def distribution_of(override: Any) -> Any:
    """Optuna's distribution of the values of an override.

    The end of a `range` is not among its values, as in a grid.

    Raises:
        ValueError: if it has no such distribution.
    """
    distributions = optuna().distributions
    numbers = hydra_adapter.numbers_of(override)
    if numbers is None:
        choices = dict.fromkeys(hydra_adapter.choices_of(override))
        return distributions.CategoricalDistribution(tuple(choices))
    low, high, step, tags = numbers
    if unknown := tags - {"log"}:
        raise ValueError(f"a search knows the tag log, but not {', '.join(sorted(unknown))}")
    if low > high:
        raise ValueError("begins above its end")
    is_log = "log" in tags
    if is_log and step not in (None, 1):
        raise ValueError("the tag log is for an interval, or a range without steps")
    if is_log and low <= 0:
        raise ValueError("the tag log is for numbers above 0")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
        return distributions.IntDistribution(low, high, is_log, step or 1)
    return distributions.FloatDistribution(low, high, is_log, None if is_log else step)


def find_problems_of_search(
    sweeper: Config, space: Mapping[str, Any], optimized_metric: str | None
) -> Iterator[Problem]:
    """The problems of `hydra.sweeper`, resolved, in a search of a space; its objects are tried.

    `optimized_metric` is None for the default, a metric of the validation.
    """
    from workbench.config.check import find_problems

    given = {f"{PLACE}.{name}": value for name, value in sweeper.items() if name != "_target_"}
    problems = find_problems(given, _settings())
    yield from problems
    if problems:
        return
    if sweeper["pruner"] and not (optimized_metric or "val/").startswith("val/"):
        yield Problem(
            "optimized_metric",
            f"={optimized_metric}: a pruner needs a metric of val/, which every epoch has",
        )
    try:
        _try_out(sweeper, space)
    except ConfigError as error:
        yield Problem(str(error), "")
    except Exception as error:  # samplers and pruners of other packages may raise anything
        yield Problem(PLACE, f": {described(error)}")


def _try_out(sweeper: Config, space: Mapping[str, Any]) -> None:
    study = optuna().create_study(direction=sweeper["direction"], pruner=make(sweeper, "pruner"))
    default = study.sampler
    for number in range(TRIALS):
        study.sampler = make(sweeper, "sampler")
        trial = study.ask(space)
        trial.report(float(number), 0)
        trial.should_prune()
        # A sampler that has no more to propose would stop the study, which is not running.
        study.sampler = default
        study.tell(trial, float(number))


def make(sweeper: Config, name: Literal["sampler", "pruner"], **changes: Any) -> Any:
    """Make the sampler or pruner that `hydra.sweeper` describes, with changes to its arguments.

    Raises:
        ConfigError: if it refuses its arguments.
    """
    from workbench.config.instantiate import instantiate

    if sweeper[name] is None:
        return optuna().pruners.NopPruner()
    hint = _settings().__annotations__[f"{PLACE}.{name}"]
    experimental = optuna().exceptions.ExperimentalWarning
    with warnings.catch_warnings(action="ignore", category=experimental):
        return instantiate({**sweeper[name], **changes}, hint, f"{PLACE}.{name}")


def _settings() -> Any:
    from workbench.config.settings import Name
    from workbench.ranges import Count

    entries: dict[str, Any] = {
        "_recursive_": Literal[False],
        "direction": Literal["minimize", "maximize"],
        "storage": Name,
        "study_name": Name,
        "n_trials": Count,
        "n_jobs": Count,
        "sampler": optuna().samplers.BaseSampler,
        "pruner": optuna().pruners.BasePruner | None,
        "params": dict[str, Any],
    }
    typed_dict: Any = TypedDict  # mypy accepts literal names only
    return typed_dict("Search", {f"{PLACE}.{name}": hint for name, hint in entries.items()})
