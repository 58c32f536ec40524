"""Expand the overrides of a sweep into its jobs."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from workbench.config.naming import LONGEST_NAME, cut, short_names
from workbench.config.problem import raise_all
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter
from workbench.jobs.compose import Composed, Composer, force_add, is_absent
from workbench.jobs.hydra_settings import SWEEPER
from workbench.jobs.locate import key_of
from workbench.jobs.messages import resolving
from workbench.jobs.quoting import quoted
from workbench.jobs.search import SEARCHER, distribution_of, examples_of

MOST_JOBS = 5_000
"""The most jobs of a sweep. All are checked before the first starts, some hundred a second."""

JOB_NUMBER = re.compile(r"\bjob\.(num|id)\b")


class Sweep(NamedTuple):
    """The jobs of a sweep.

    Args:
        jobs: the overrides of each job; of a search, examples of its trials.
        is_grid: whether `jobs` are all there are.
        space: Optuna's distribution of each setting that a search of the workbench's chooses.
        names: overrides that name the sweep and what it varies, for every job.
        added: keys of overrides that no config file has.
        params: the settings that a config file varies.
        subdir: `hydra.sweep.subdir`, with its interpolations.
        is_numbered: whether any setting depends on the number of the job.
    """

    jobs: list[list[str]]
    is_grid: bool
    space: dict[str, Any]
    names: list[str]
    added: set[str]
    params: list[str]
    subdir: str
    is_numbered: bool


def read_sweep(composer: Composer, composed: Composed, overrides: Sequence[Any]) -> Sweep:
    """The jobs of a sweep, before any of them is checked.

    Args:
        composer: composes its jobs.
        composed: the config of the overrides that all jobs share.
        overrides: all overrides, parsed.

    Raises:
        ConfigError: if a setting cannot be varied, or has no value.
    """
    unresolved = hydra_adapter.unresolved(composed.config)
    hydra = unresolved["hydra"]
    sweeper = hydra["sweeper"]
    params = {str(key): value for key, value in (sweeper.get("params") or {}).items()}
    swept = [o.key_or_group for o in overrides if o.is_sweep_override()]
    for key in swept:
        if swept.count(key) > 1:
            raise ConfigError(f"{key}: is varied twice; write all its values in one list")
        if key.startswith("hydra"):
            raise ConfigError(f"{key}: is the same for all jobs of a sweep; give it one value")
    varied = list(dict.fromkeys([*map(key_of, params), *swept]))
    # `sweep` and `varied` are not typed by the user, so they do not belong in `override_dirname`.
    hidden = [*hydra["job"]["config"]["override_dirname"]["exclude_keys"], "sweep", "varied"]
    names = [
        f"sweep={quoted(_sweep_name(composed.config, varied))}",
        f"varied=[{','.join(map(quoted, varied))}]",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, hidden))}]",
    ]
    added = composed.added | {key for key in swept if "." in key and is_absent(key, unresolved)}
    texts = force_add([o.input_line for o in overrides], added)
    parsed = composer.parse([*(f"{key}={values}" for key, values in params.items()), *texts])
    is_grid, is_search = (sweeper.get("_target_") == name for name in (SWEEPER, SEARCHER))
    values = {o.get_key_element(): _single_overrides(o, is_grid) for o in parsed}
    if is_grid and math.prod(map(len, values.values())) > MOST_JOBS:
        raise ConfigError(f"-m: asks for more than {MOST_JOBS:,} jobs; list fewer values")
    combine = itertools.product if is_grid else _vary_one_at_a_time
    jobs = [[*job, *names] for job in combine(*values.values())]
    space = _search_space(parsed) if is_search else {}
    subdir = hydra["sweep"]["subdir"]
    is_numbered = bool(JOB_NUMBER.search(f"{unresolved} {texts}"))
    return Sweep(jobs, is_grid, space, names, added, list(params), subdir, is_numbered)


def _sweep_name(cfg: DictConfig, varied: Sequence[str]) -> str:
    """The name of a sweep and of its folder, made by default of the settings that it varies."""
    with resolving("sweep"):
        name = cfg.sweep
    if name is None:
        return cut(",".join(short_names(varied)).replace("/", ".") or "single", 2 * LONGEST_NAME)
    if not isinstance(name, str) or not name.strip() or "/" in name or name in (".", ".."):
        sweeps = Path(cfg.log_dir) / "sweeps"
        raise ConfigError(
            f"sweep={name}: should be the name of a folder in {sweeps}, without a /; to write "
            "elsewhere, set hydra.sweep.dir"
        )
    return name


def _single_overrides(override: Any, is_grid: bool) -> list[str]:
    """An override for each value of a swept one; for a search, for some of its values."""
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


def _vary_one_at_a_time(*values: list[str]) -> Iterator[list[str]]:
    """Combine the first value of each setting, then replace one of them by each other value."""
    first = [options[0] for options in values]
    yield first
    for i, options in enumerate(values):
        for value in options[1:]:
            yield [*first[:i], value, *first[i + 1 :]]


def _search_space(overrides: Sequence[Any]) -> dict[str, Any]:
    space, problems = {}, []
    for override in overrides:
        if override.is_sweep_override():
            try:
                space[key_of(override.get_key_element())] = distribution_of(override)
            except ValueError as error:
                problems.append(f"{override.input_line}: {error}")
    if not space:
        problems.append("-m: a search has nothing to choose: add a setting, a=interval(0,1)")
    raise_all(problems)
    return space
