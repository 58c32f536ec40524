"""The jobs of a command line, composed and checked before the first of them starts."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musigma.config.launch import Launch, quote_path, read_launch, short_names
from musigma.config.sources import source_of
from musigma.errors import ConfigError
from musigma.paths import CONFIGS

ONLY_SHOWS = ("help", "hydra_help", "info", "cfg", "shell_completion", "experimental_rerun")
"""Hydra's options that run no job."""

PLUGINS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}
"""Configs that Hydra's plugins bring, and the extra that installs each plugin."""


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
    arguments = list(map(quote_path, arguments))
    options = get_args_parser().parse_args(arguments)
    if options.multirun and (options.cfg or options.info):
        raise ConfigError("--multirun runs jobs, and --cfg and --info only show: take one of them")
    overrides = list(options.overrides)
    if options.config_dir:
        overrides.append(f"hydra.searchpath=[file://{options.config_dir}]")
    name = options.config_name or script
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        if any(getattr(options, name) for name in ONLY_SHOWS):
            added = _added(_compose(name, overrides).fitting) if options.cfg else ()
            return CommandLine(_adding(added, arguments), [])
        sweep = _sweep(name, overrides) if options.multirun else _Sweep([overrides])
        checked = [_check(script, name, job) for job in sweep.jobs]
    problems = [problem for job in checked for problem in job.problems]
    added = {*sweep.added, *(key for job in checked for key in _added(job.fitting))}
    problems += [
        f"hydra.sweeper.params.{key}: write it as ++{key} there, as no file has it"
        for key in sweep.params
        if key in added
    ]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    launches = [job.launch for job in checked if job.launch]
    arguments = [*_adding(added, arguments), *sweep.names]
    return CommandLine(arguments, launches if sweep.is_grid else [])


def _adding(added: Collection[str], overrides: Iterable[str]) -> list[str]:
    """`a.b=c` → `++a.b=c` where `a.b` is among what no config file has."""
    return [f"++{o}" if o.partition("=")[0] in added else o for o in overrides]


def _added(overrides: Iterable[str]) -> set[str]:
    return {_key(override) for override in overrides if override.startswith("++")}


class _Sweep(NamedTuple):
    """The jobs of a sweep.

    Args:
        jobs: the overrides of each.
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


def _sweep(config_name: str, overrides: list[str]) -> _Sweep:
    parsed = _parse(overrides)
    fixed = [o.input_line for o in parsed if o.input_line and not o.is_sweep_override()]
    config = _compose(config_name, fixed).config
    added = {o.key_or_group for o in parsed if _is_absent(o.key_or_group, config)}
    overrides, fixed = _adding(added, overrides), _adding(added, fixed)
    sweeper: Any = config.hydra.sweeper
    params = dict(sweeper.get("params") or {})
    typed = [o.key_or_group for o in parsed if o.is_sweep_override()]
    varied = list(dict.fromkeys([*map(_key, params), *typed]))
    name = config.sweep or ",".join(short_names(varied)) or "single"
    quoted = ",".join(f"'{key}'" for key in varied)
    names = [f"sweep='{name}'", f"varied=[{quoted}]"]
    mode = "hydra.mode=MULTIRUN"
    if "BasicSweeper" not in sweeper.get("_target_", ""):  # a search chooses as it goes
        return _Sweep([[*fixed, *names, mode]], False, names, added)
    swept = [f"{key}={values}" for key, values in params.items()]
    (jobs,) = BasicSweeper.split_arguments(_parse([*swept, *overrides]), max_batch_size=None)
    return _Sweep([[*job, *names, mode] for job in jobs], True, names, added, params)


def _is_absent(key: str, config: DictConfig) -> bool:
    """Whether no config file has a setting; `key` may also be a group, which is none."""
    return "." in key and OmegaConf.select(config, key, default=_is_absent) is _is_absent


def _parse(overrides: list[str]) -> list[Any]:
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException as error:
        raise ConfigError(f"{error.override}: {str(error).splitlines()[0]}") from error


class _Checked(NamedTuple):
    fitting: list[str]
    problems: list[str]
    launch: Launch | None = None


def _check(script: str, config_name: str, overrides: list[str]) -> _Checked:
    _parse(overrides)
    config, fitting, problems = _compose(config_name, overrides)
    if config.get("resume"):  # a run that goes on has a config of its own
        return _Checked(fitting, problems)
    from musigma.config.rules import find_problems_of_job  # imports torch

    HydraConfig.instance().set_config(config)
    for problem in find_problems_of_job(script, config):
        source = source_of(problem.place, config_name, fitting)
        problems.append(f"{problem}  ({source})" if source else str(problem))
    if problems or script != "train":
        return _Checked(fitting, problems)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return _Checked(fitting, [], read_launch(own))


class _Composed(NamedTuple):
    """A config, the overrides that it was composed with, and what is wrong with the others.

    A setting that no file has was added, with `++`: it may be an argument that only the signature
    of its target names, and the check knows whether it is.
    """

    config: DictConfig
    fitting: list[str]
    problems: list[str]


def _compose(config_name: str, overrides: list[str]) -> _Composed:
    """Compose without the overrides that do not fit."""
    fitting, faults = list(overrides), {}
    while True:
        try:
            config = compose(config_name, fitting, return_hydra_config=True)
            break
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if extra := PLUGINS.get(str(getattr(error, "missing_cfg_file", ""))):
                needs = f"needs what is not installed here: pip install -e '.[{extra}]'"
                raise ConfigError(f"{' '.join(overrides)}: {needs}") from error
            culprit = next((o for o in fitting if _is_about(o, error)), None)
            if culprit is None:
                raise ConfigError(f"{' '.join(fitting)}: {error}") from error
            if _is_unknown(error) and not culprit.startswith("hydra."):
                fitting[fitting.index(culprit)] = f"++{culprit}"
                continue
            fitting.remove(culprit)
            faults[culprit] = error
    problems = [_explain(culprit, error) for culprit, error in faults.items()]
    return _Composed(config, fitting, problems)


def _is_about(override: str, error: Exception) -> bool:
    named = re.search(r"'([^']+)'", str(error).partition("Could not find")[2] or str(error))
    key, _, value = override.lstrip("+~").partition("=")
    return named is not None and named[1] in (key, f"{key}/{value}", override)


def _explain(override: str, error: Exception) -> str:
    key, _, value = override.lstrip("+~").partition("=")
    if isinstance(error, MissingConfigException):
        options = list(error.options or [])
        nearest = difflib.get_close_matches(value, options, 1)
        meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(options)}"
        return f"{override}: there is no {key} of that name; {meant}"
    return f"{override}: {str(error).splitlines()[0]}"


def _is_unknown(error: Exception) -> bool:
    """Whether an override is for a setting that no file has."""
    return "not in" in str(error.__cause__) and "override" in str(error)


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
