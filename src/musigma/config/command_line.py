"""The jobs of a command line, composed and checked before the first of them starts."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from musigma.config.compose import PRESETS, choose_none, compose_fitting, key_of, parse
from musigma.config.hydra_settings import find_problems_of_hydra
from musigma.config.launch import Launch, read_launch, short_names
from musigma.config.problem import Problem
from musigma.config.quoting import quote
from musigma.config.sources import source_of
from musigma.errors import ConfigError
from musigma.paths import CONFIGS

MULTIRUN = ("-m", "--multirun")
ONLY_SHOWS = ("help", "hydra_help", "info", "cfg", "shell_completion")
"""Hydra's options that run no job."""


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
    flags = [argument for argument in arguments if argument in MULTIRUN]
    # First, wherever they were typed: settings on both sides of an option confuse its parser.
    arguments = [*flags, *(argument for argument in arguments if argument not in MULTIRUN)]
    options = get_args_parser().parse_args(arguments)
    if options.experimental_rerun:
        raise ConfigError("--experimental-rerun runs what a pickle says; take resume=<run folder>")
    overrides = list(options.overrides)
    is_sweep = options.multirun or "hydra.mode=MULTIRUN" in overrides
    if is_sweep and script != "train":
        raise ConfigError(f"--multirun is for scripts/train.py; scripts/{script}.py does one thing")
    if is_sweep and (options.cfg or options.info):
        raise ConfigError("--multirun runs jobs, and --cfg and --info only show: take one of them")
    if options.config_dir:
        if not Path(options.config_dir).is_dir():
            raise ConfigError(f"--config-dir {options.config_dir}: there is no such folder")
        overrides.append(f"hydra.searchpath=[file://{options.config_dir}]")
    name = options.config_name or script
    only_shows = any(getattr(options, option) for option in ONLY_SHOWS)
    if only_shows and not (options.cfg and overrides):
        return CommandLine(arguments, [])
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        parsed = parse(overrides)
        if only_shows:
            shown = compose_fitting(name, overrides)
            _raise(map(str, _problems_of_hydra(script, shown.config, overrides)))
            return CommandLine(_adding(shown.added, arguments), [])
        sweep = _sweep(name, parsed) if is_sweep else _Sweep([overrides])
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
    arguments = [*_adding(added, arguments), *sweep.names]
    return CommandLine(arguments, launches if sweep.is_grid else [])


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


def _sweep(config_name: str, parsed: Sequence[Any]) -> _Sweep:
    fixed = [o.input_line for o in parsed if not o.is_sweep_override()]
    config, _, added, _ = compose_fitting(config_name, fixed)
    settings = OmegaConf.to_container(config)
    added |= {o.key_or_group for o in parsed if _is_absent(o.key_or_group, settings)}
    sweeper: Any = config.hydra.sweeper
    params = dict(sweeper.get("params") or {})
    typed = [o.key_or_group for o in parsed if o.is_sweep_override()]
    varied = list(dict.fromkeys([*map(key_of, params), *typed]))
    name = config.sweep or ",".join(short_names(varied)) or "single"
    quoted = ",".join(f"'{key}'" for key in varied)
    names = [f"sweep='{name}'", f"varied=[{quoted}]"]
    overrides = _adding(added, (o.input_line for o in parsed))
    swept = parse([*(f"{key}={values}" for key, values in params.items()), *overrides])
    is_grid = "BasicSweeper" in sweeper.get("_target_", "")
    if empty := [o.input_line for o in swept if o.is_discrete_sweep() and not _first(o)]:
        raise ConfigError(f"{empty[0]}: holds no value")
    if is_grid and (bad := [o.input_line for o in swept if o.is_interval_sweep()]):
        raise ConfigError(f"{bad[0]}: is for a search: add hydra/sweeper=search")
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


def _first(override: Any) -> str | None:
    return next(override.sweep_string_iterator(), None)


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
    found = _problems_of_hydra(script, config, overrides)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    if not config.get("resume"):  # a run that is resumed has a config of its own
        from musigma.config.rules import find_problems_of_job  # imports torch

        found += find_problems_of_job(script, own)
    for problem in found:
        if choice := _without_package(problem.place):
            problems.append(choice)
            continue
        source = source_of(problem.place, config_name, fitting)
        problems.append(f"{problem}  ({source})" if source else str(problem))
    if problems or script != "train" or config.get("resume"):
        return _Checked(added, problems)
    return _Checked(added, [], read_launch(own))


def _without_package(place: str) -> str | None:
    """The advice, where the settings of a preset ended up under its group's name."""
    if place not in PRESETS:
        return None
    file = HydraConfig.get().runtime.choices[place]
    return f"configs/{place}/{file}.yaml: should begin with the line `# @package _global_`"


def _problems_of_hydra(script: str, config: DictConfig, overrides: list[str]) -> list[Problem]:
    settings: Any = OmegaConf.to_container(config.hydra)
    resumes = bool(config.get("resume"))
    return list(find_problems_of_hydra(script, settings, overrides, resumes=resumes))
