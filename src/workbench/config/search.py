"""The settings that a search may choose, and Hydra's settings by which it chooses."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from workbench.config import hydra_adapter
from workbench.config.faults import needs
from workbench.config.problem import Problem
from workbench.errors import ConfigError, one_line
from workbench.project import Config

SEARCHER = "hydra_plugins.workbench.search_sweeper.SearchSweeper"
"""The sweeper of searches."""

PLACE = "hydra.sweeper"
DESCRIBED = ("sampler", "pruner")
"""Its settings that are classes of Optuna's, or of trusted packages."""

TRIED = 3
"""So many trials of nothing show whether a sampler and a pruner work: some need more packages."""


class Search(NamedTuple):
    """A search: the settings that its trials have in common.

    Args:
        arguments: the overrides of one of them.
        space: Optuna's distribution of each setting that is chosen, by the setting's name.
    """

    arguments: list[str]
    space: dict[str, Any]

    def arguments_of(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of the trial for which these values were chosen."""
        keys = [text.partition("=")[0] for text in self.arguments]
        names = [key.lstrip("+") for key in keys]
        return [
            f"{key}={chosen[name]}" if name in chosen else text
            for key, name, text in zip(keys, names, self.arguments, strict=True)
        ]


def optuna() -> Any:
    """Optuna, imported, without the lines that it logs of each trial.

    Raises:
        ConfigError: if there is none, or one that keeps no studies in journals.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # an old one's about its data base
            import optuna
            import optuna.storages.journal
    except ImportError as error:
        raise ConfigError(f"hydra/sweeper=search: {needs('optuna')}") from error
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def examples_of(override: Any) -> list[str]:
    """Overrides of single jobs by which a search is checked: each choice, the ends of numbers.

    Raises:
        ValueError: if there is no value.
    """
    if not override.is_sweep_override():
        return [*hydra_adapter.strings_of(override)]
    numbers = hydra_adapter.numbers_of(override)
    values = hydra_adapter.choices_of(override) if numbers is None else [numbers.low, numbers.high]
    return [f"{override.get_key_element()}={value}" for value in values]


def distribution_of(override: Any) -> Any:
    """Optuna's distribution of the values that an override stands for.

    A range is what it is in a grid: its end is not among its values.

    Raises:
        ValueError: if there is none.
    """
    distributions = optuna().distributions
    numbers = hydra_adapter.numbers_of(override)
    if numbers is None:
        choices = dict.fromkeys(hydra_adapter.choices_of(override))
        return distributions.CategoricalDistribution(tuple(choices))
    low, high, step, tags = numbers
    if unknown := tags - {"log"}:
        raise ValueError(f"a search knows the tag log, and not {', '.join(sorted(unknown))}")
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
    """The faults in the settings of a search; its sampler and pruner are tried.

    Args:
        sweeper: `hydra.sweeper`, resolved.
        space: Optuna's distributions, by the names of settings.
        optimized_metric: by default a metric of the validation.
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
            f"={optimized_metric}: a pruner goes by a metric of val/, which every epoch has",
        )
    try:
        _try_out(sweeper, space)
    except ConfigError as error:
        yield Problem(str(error), "")
    except Exception as error:  # of any kind, as samplers and pruners may be anybody's
        yield Problem(PLACE, f": {type(error).__name__}: {one_line(error)}")


def _try_out(sweeper: Config, space: Mapping[str, Any]) -> None:
    study = optuna().create_study(direction=sweeper["direction"], pruner=make(sweeper, "pruner"))
    teller = study.sampler
    for number in range(TRIED):
        study.sampler = make(sweeper, "sampler")
        trial = study.ask(space)
        trial.report(float(number), 0)
        trial.should_prune()
        study.sampler = teller  # one that has no more to propose would stop what is not running
        study.tell(trial, float(number))


def make(sweeper: Config, name: Literal["sampler", "pruner"], **more: Any) -> Any:
    """The sampler or the pruner of a search.

    Args:
        sweeper: `hydra.sweeper`, resolved.
        name: which of them.
        more: arguments that replace those in the settings.

    Raises:
        ConfigError: if it refuses its arguments.
    """
    from workbench.config.instantiate import instantiate

    if sweeper[name] is None:
        return optuna().pruners.NopPruner()
    hint = _settings().__annotations__[f"{PLACE}.{name}"]
    experimental = optuna().exceptions.ExperimentalWarning
    with warnings.catch_warnings(action="ignore", category=experimental):
        return instantiate({**sweeper[name], **more}, hint, f"{PLACE}.{name}")


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
    named: Any = TypedDict  # for names with dots
    return named("Search", {f"{PLACE}.{name}": hint for name, hint in entries.items()})
