"""The jobs of a sweep, from its settings and from what was typed."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from workbench.config import hydra_adapter
from workbench.config.compose import Composed, Composer, is_absent
from workbench.config.faults import key_of
from workbench.config.hydra_settings import SWEEPER
from workbench.config.naming import sweep_name
from workbench.config.quoting import quoted
from workbench.config.search import SEARCHER, distribution_of, examples_of
from workbench.errors import ConfigError

MOST_JOBS = 5_000
"""The jobs of a sweep are all checked before the first starts, some hundred a second."""


NUMBER = re.compile(r"\bjob\.(num|id)\b")


class Sweep(NamedTuple):
    """The jobs of a sweep.

    Args:
        jobs: the overrides of each; of a search, some that it may choose.
        is_grid: whether these are all there are.
        space: of a search of the workbench's, Optuna's distribution of each setting that it
            chooses.
        names: the overrides that name the sweep.
        added: what was typed that no config file has.
        params: what a config file varies.
        subdir: `hydra.sweep.subdir`, as it is written.
        is_numbered: whether a setting tells a job's number.
    """

    jobs: list[list[str]]
    is_grid: bool
    space: dict[str, Any]
    names: list[str]
    added: set[str]
    params: list[str]
    subdir: str
    is_numbered: bool


def read_sweep(composer: Composer, composed: Composed, typed: Sequence[Any]) -> Sweep:
    """The jobs of a sweep, none of which is checked yet.

    Args:
        composer: of its config.
        composed: with what was typed that all jobs share.
        typed: all that was, parsed.

    Raises:
        ConfigError: if what is varied cannot be, or names no job.
    """
    settings = hydra_adapter.written(composed.config)
    sweeper = settings["hydra"]["sweeper"]
    params = {str(key): value for key, value in (sweeper.get("params") or {}).items()}
    swept = [o.key_or_group for o in typed if o.is_sweep_override()]
    for key in swept:
        if swept.count(key) > 1:
            raise ConfigError(f"{key}: is varied twice; write all its values in one list")
        if key.startswith("hydra"):
            raise ConfigError(f"{key}: is the same for all jobs of a sweep; give it one value")
    varied = list(dict.fromkeys([*map(key_of, params), *swept]))
    ours = ["sweep", "varied"]  # in `${hydra.job.override_dirname}` nobody asked for them
    hidden = [*settings["hydra"]["job"]["config"]["override_dirname"]["exclude_keys"], *ours]
    names = [
        f"sweep={quoted(sweep_name(composed.config, varied))}",
        f"varied=[{','.join(map(quoted, varied))}]",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, hidden))}]",
    ]
    added = composed.added | {key for key in swept if "." in key and is_absent(key, settings)}
    texts = [o.input_line for o in typed]
    texts = [f"++{text}" if text.partition("=")[0] in added else text for text in texts]
    overrides = composer.parse([*(f"{key}={values}" for key, values in params.items()), *texts])
    is_grid, is_search = (sweeper.get("_target_") == name for name in (SWEEPER, SEARCHER))
    values = {o.get_key_element(): _values(o, is_grid) for o in overrides}
    if is_grid and math.prod(map(len, values.values())) > MOST_JOBS:
        raise ConfigError(f"-m: asks for more than {MOST_JOBS:,} jobs; list fewer values")
    combined = itertools.product(*values.values()) if is_grid else _one_by_one([*values.values()])
    jobs = [[*job, *names] for job in combined]
    space = _space_of(overrides) if is_search else {}
    subdir = settings["hydra"]["sweep"]["subdir"]
    is_numbered = bool(NUMBER.search(f"{settings} {texts}"))
    return Sweep(jobs, is_grid, space, names, added, list(params), subdir, is_numbered)


def _values(override: Any, is_grid: bool) -> list[str]:
    """The overrides that one stands for, one for each of its values; of a search, examples."""
    text = override.input_line
    if is_grid and override.is_interval_sweep():
        raise ConfigError(f"{text}: is for a search: add hydra/sweeper=search")
    strings = hydra_adapter.strings_of if is_grid else examples_of
    try:
        values = list(itertools.islice(strings(override), MOST_JOBS + 1))
    except ValueError as error:  # a range without a step
        raise ConfigError(f"{text}: {error}") from error
    if not values:
        raise ConfigError(f"{text}: holds no value")
    return values


def _one_by_one(values: Sequence[list[str]]) -> Iterator[list[str]]:
    """The first value of each setting, and every other value of one with the first of the rest."""
    first = [known[0] for known in values]
    yield first
    for place, known in enumerate(values):
        for value in known[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


def _space_of(overrides: Sequence[Any]) -> dict[str, Any]:
    space, faults = {}, []
    for override in overrides:
        if override.is_sweep_override():
            try:
                space[key_of(override.get_key_element())] = distribution_of(override)
            except ValueError as error:
                faults.append(f"{override.input_line}: {error}")
    if not space:
        faults.append("-m: nothing is left to a search: add a setting such as a=interval(0,1)")
    if faults:
        raise ConfigError("\n".join(faults))
    return space
