"""The jobs of a command line, composed and checked before the first of them starts."""

import itertools
import math
import warnings
from argparse import Namespace
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.config.compose import PRESETS, choose_none, compose_fitting, file_of, key_of, parse
from workbench.config.hydra_settings import (
    OF_A_SWEEP,
    find_problems_of_hydra,
    find_refused,
    find_typed,
)
from workbench.config.launch import Launch, check_folders, read_launch, sweep_name
from workbench.config.options import ONLY_SHOWS, arguments_of, read_options
from workbench.config.problem import Problem
from workbench.config.quoting import quote, quoted
from workbench.config.sources import source_of
from workbench.errors import ConfigError
from workbench.project import the_project

MOST_JOBS = 5_000
"""The jobs of a sweep are all checked before the first starts, some ten a second."""


class CommandLine(NamedTuple):
    """What a script was asked for.

    Args:
        arguments: for Hydra; of a sweep they name its folder and what it varies.
        jobs: each job of a sweep whose jobs are known before; otherwise none.
    """

    arguments: list[str]
    jobs: list[Launch]


def read_command_line(script: str, arguments: Sequence[str]) -> CommandLine:
    """Compose and check every job that the arguments of a script ask for.

    Args:
        script: its name, which is that of its config too.
        arguments: the script's, without its own name.

    Raises:
        ConfigError: lists everything that is wrong in any of them, each fault with its place and
            with the override or the file that it came from.
    """
    arguments = [*filter(None, map(choose_none, map(quote, arguments)))]
    options = read_options(script, arguments)
    overrides = list(options.overrides)
    is_sweep = options.multirun or "hydra.mode=MULTIRUN" in overrides
    if is_sweep and script != "train":
        raise ConfigError(f"--multirun is for scripts/train.py; scripts/{script}.py does one thing")
    only_shows = any(getattr(options, option) for option in ONLY_SHOWS)
    if options.shell_completion or (only_shows and not (overrides or options.package)):
        return CommandLine([*arguments_of(options), *overrides], [])
    name = options.config_name or script
    with (
        initialize_config_dir(str(the_project().configs), job_name=script, version_base="1.3"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "provider=hydra.searchpath")  # is an error here
        typed = list(overrides)
        if options.config_dir:
            folder = quoted(f"file://{Path(options.config_dir).absolute()}")
            overrides.append(f"hydra.searchpath=[{folder}]")
        parsed = parse(overrides)
        if only_shows:
            added = _show(script, name, overrides, options)
            return CommandLine([*arguments_of(options), *_adding(added, typed)], [])
        _raise(map(str, find_refused(script, typed, is_sweep=is_sweep)))
        sweep = _sweep(script, name, parsed) if is_sweep else _Sweep([overrides])
        checked = [_check(script, name, job) for job in sweep.jobs]
    problems = [problem for job in checked for problem in job.problems]
    added = set(sweep.added).union(*(job.added for job in checked))
    problems += [
        f"hydra.sweeper.params.{key}: write it as ++{key} there, as no file has it"
        for key in sweep.params
        if key in added
    ]
    _raise(problems)
    launches = [job.launch for job in checked if job.launch]
    if is_sweep:
        check_folders(launches, is_search=not sweep.is_grid)
    arguments = [*arguments_of(options), *_adding(added, typed), *sweep.names]
    return CommandLine(arguments, launches if sweep.is_grid else [])


def _show(script: str, name: str, overrides: list[str], options: Namespace) -> set[str]:
    """Check that a config can be shown; what was typed that no config file has."""
    shown = compose_fitting(name, overrides)
    _raise([*shown.problems, *map(str, _problems_of_hydra(script, shown.config))])
    HydraConfig.instance().set_config(shown.config)
    if options.package not in (None, "_global_") and (
        OmegaConf.select(shown.config, options.package, throw_on_resolution_failure=False) is None
    ):
        raise ConfigError(f"--package {options.package}: the config has no such part")
    if options.resolve and options.cfg == "job":
        own = _own(shown.config)
        try:
            OmegaConf.to_container(own, resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    return shown.added


def _raise(problems: Iterable[str]) -> None:
    if text := "\n".join(dict.fromkeys(problems)):
        raise ConfigError(text)


def _adding(added: Collection[str], overrides: Iterable[str]) -> list[str]:
    """`a.b=c` → `++a.b=c` where `a.b` is among what no config file has."""
    return [f"++{o}" if o.partition("=")[0] in added else o for o in overrides]


class _Sweep(NamedTuple):
    """The jobs of a sweep.

    Args:
        jobs: the overrides of each; of a search, one that it may choose.
        is_grid: whether these are all there are.
        names: the overrides that name the sweep.
        added: what was typed that no config file has.
        params: what a config file varies.
    """

    jobs: list[list[str]]
    is_grid: bool = False
    names: Sequence[str] = ()
    added: Collection[str] = ()
    params: Collection[str] = ()


def _sweep(script: str, config_name: str, parsed: Sequence[Any]) -> _Sweep:
    fixed = [o.input_line for o in parsed if not o.is_sweep_override()]
    config, _, added, _ = compose_fitting(config_name, fixed)
    _raise(map(str, _problems_of_hydra(script, config)))
    settings = OmegaConf.to_container(config)
    added |= {o.key_or_group for o in parsed if _is_absent(o.key_or_group, settings)}
    sweeper: Any = config.hydra.sweeper
    params = dict(sweeper.get("params") or {})
    typed = [o.key_or_group for o in parsed if o.is_sweep_override()]
    for key in typed:
        if typed.count(key) > 1:
            raise ConfigError(f"{key}: is varied twice; write all its values in one list")
        if key.startswith("hydra") and not key.startswith("hydra.job."):
            raise ConfigError(f"{key}: is the same for all jobs of a sweep; give it one value")
    varied = list(dict.fromkeys([*map(key_of, params), *typed]))
    names = [
        f"sweep={quoted(sweep_name(config, varied))}",
        f"varied=[{','.join(map(quoted, varied))}]",
    ]
    overrides = _adding(added, (o.input_line for o in parsed))
    swept = parse([*(f"{key}={values}" for key, values in params.items()), *overrides])
    is_grid = "BasicSweeper" in sweeper.get("_target_", "")
    if empty := [o.input_line for o in swept if o.is_discrete_sweep() and not _first(o)]:
        raise ConfigError(f"{empty[0]}: holds no value")
    if is_grid and (bad := [o.input_line for o in swept if o.is_interval_sweep()]):
        raise ConfigError(f"{bad[0]}: is for a search: add hydra/sweeper=search")
    if is_grid and math.prod(map(_count, swept)) > MOST_JOBS:
        raise ConfigError(f"-m: asks for more than {MOST_JOBS:,} jobs; list fewer values")
    jobs = BasicSweeper.split_arguments(swept, None)[0] if is_grid else [map(_example, swept)]
    numbered = (
        [*job, *names, "hydra.mode=MULTIRUN", f"hydra.job.num={n}", f"hydra.job.id={n}"]
        for n, job in enumerate(jobs)
    )
    return _Sweep(list(numbered), is_grid, names, added, params)


def _example(override: Any) -> str:
    """One of the values that a search may choose, which it does as it goes."""
    if override.is_interval_sweep():
        return f"{override.get_key_element()}={override.value().start}"
    if override.is_sweep_override():
        return f"{override.get_key_element()}={_first(override)}"
    return override.input_line


def _count(override: Any) -> int:
    """How many values an override lists, as far as that matters."""
    if not override.is_sweep_override():
        return 1
    return len(list(itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1)))


def _first(override: Any) -> str | None:
    try:
        return next(override.sweep_string_iterator(), None)
    except ValueError as error:  # a range without a step
        raise ConfigError(f"{override.input_line}: {error}") from error


def _is_absent(key: str, settings: Any) -> bool:
    """Whether no config file has a setting; `key` may also be a group, which is none.

    Args:
        key: dotted.
        settings: plain, with interpolations as they are written.
    """
    if "." not in key:
        return False
    for name in key.split("."):
        if not isinstance(settings, dict):
            return False  # an interpolation leads elsewhere
        if name not in settings:
            return True
        settings = settings[name]
    return False


class _Checked(NamedTuple):
    added: set[str]
    problems: list[str]
    launch: Launch | None = None


def _check(script: str, config_name: str, overrides: list[str]) -> _Checked:
    config, fitting, added, problems = compose_fitting(config_name, overrides)
    HydraConfig.instance().set_config(config)
    found = _problems_of_hydra(script, config)
    settings: Any = OmegaConf.to_container(config)
    for name in ("name", "log_dir", "resume"):
        if settings.get(name) == "":
            found.append(Problem(f"{name}=", ": is empty; give it a value, or leave it out"))
    resumes = bool(settings.get("resume"))
    if resumes:
        found += find_typed(overrides, {"hydra.run.": "a run that is resumed has its folder"})
    if "hydra.mode=MULTIRUN" not in overrides:
        if config.hydra.mode == RunMode.MULTIRUN:
            found.append(Problem("hydra.mode", "=MULTIRUN: type -m instead"))
        found += [] if found else find_typed(overrides, OF_A_SWEEP)
    own = _own(config)
    if not resumes:  # a run that is resumed has a config of its own
        from workbench.config.rules import find_problems_of_job  # imports torch

        found += find_problems_of_job(script, own)
    for problem in found:
        if choice := _without_package(problem.place, fitting):
            problems.append(choice)
            continue
        source = source_of(problem.place, config_name, fitting)
        problems.append(f"{problem}  ({source})" if source else str(problem))
    if problems or script != "train" or resumes:
        return _Checked(added, problems)
    return _Checked(added, [], read_launch(own))


def _without_package(place: str, overrides: list[str]) -> str | None:
    """The advice, where the settings of a preset ended up under its group's name."""
    if place not in PRESETS:
        return None
    file = file_of(f"{place}/{HydraConfig.get().runtime.choices[place]}", overrides)
    return f"{file}: should begin with the line `# @package _global_`"


def _own(config: DictConfig) -> DictConfig:
    names: Any = [key for key in config if key != "hydra"]
    return OmegaConf.masked_copy(config, names)


def _problems_of_hydra(script: str, config: DictConfig) -> list[Problem]:
    settings: Any = OmegaConf.to_container(config.hydra)
    return list(find_problems_of_hydra(script, settings))
