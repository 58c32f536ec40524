"""Read a command line: compose and check all of its jobs before the first of them starts."""

import warnings
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from workbench.config.problem import raise_all
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter
from workbench.jobs.checks import Checks
from workbench.jobs.compose import Composer, choose_none, force_add
from workbench.jobs.hydra_settings import find_refused
from workbench.jobs.launch import check_distinct_folders
from workbench.jobs.options import ONLY_SHOWS, read_options
from workbench.jobs.quoting import quote, quoted
from workbench.jobs.search import Search
from workbench.project import the_project
from workbench.training.launch import Launch


class CommandLine(NamedTuple):
    """A checked command line.

    Args:
        config_name: the primary config.
        options: Hydra's options, with overrides that Hydra accepts; those of a sweep also name its
            folder and what it varies.
        jobs: the jobs of a grid, which are known beforehand; otherwise empty.
        arguments: the overrides of each of `jobs`, for a launcher.
        is_numbered: whether any setting depends on the number of the job.
        search: what the trials of a search of the workbench's have in common.
        sweep: the name of a sweep.
        composed: the config of a single job, with Hydra's own settings.
        composer: composes the jobs of a grid.
    """

    config_name: str
    options: Namespace
    jobs: Sequence[Launch] = ()
    arguments: Sequence[Sequence[str]] = ()
    is_numbered: bool = False
    search: Search | None = None
    sweep: str | None = None
    composed: DictConfig | None = None
    composer: Composer | None = None


def read_command_line(script: str, arguments: Sequence[str]) -> CommandLine:
    """Compose and check every job that the arguments of a script, without its name, ask for.

    Raises:
        ConfigError: lists all problems of all jobs, each with the setting and with the override or
            file that it comes from.
    """
    options = read_options(script, [*map(choose_none, map(quote, filter(None, arguments)))])
    name, typed = options.config_name or script, list(options.overrides)
    is_sweep = options.multirun or hydra_adapter.MULTIRUN in typed
    if is_sweep and script != "train":
        raise ConfigError("--multirun is for scripts/train.py only; leave it out")
    only_shows = any(getattr(options, option) for option in ONLY_SHOWS)
    if options.shell_completion or options.hydra_help:
        return CommandLine(name, options)
    if options.config_dir:
        folder = quoted(f"file://{Path(options.config_dir).absolute()}")
        options.overrides.append(f"hydra.searchpath=[{folder}]")
    with (
        hydra_adapter.opened(the_project().configs, script, options.config_dir),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "provider=hydra.searchpath")  # a problem here
        checks = Checks(script, name)
        checks.composer.parse(options.overrides)
        if only_shows:
            return CommandLine(name, _with_added(options, checks.check_shown(options)))
        raise_all(find_refused(script, typed, is_sweep=is_sweep))
        if not is_sweep:
            checked = checks.check(options.overrides)
            raise_all(checked.problems)
            return CommandLine(name, _with_added(options, checked.added), composed=checked.composed)
        return _read_sweep(checks, options)


def _read_sweep(checks: Checks, options: Namespace) -> CommandLine:
    sweep = checks.read_sweep(options.overrides)
    checked = [checks.check(job, number) for number, job in enumerate(sweep.jobs)]
    problems = [problem for job in checked for problem in job.problems]
    added = sweep.added.union(*(job.added for job in checked))
    problems += [
        f"hydra.sweeper.params.{key}: write it as ++{key} there, as no file has it"
        for key in sweep.params
        if key in added
    ]
    raise_all(problems)
    if sweep.space:
        checks.check_search(sweep)
    launches = [job.launch for job in checked if job.launch]
    check_distinct_folders(launches, sweep.subdir, is_search=not sweep.is_grid)
    options = _with_added(options, added, [*sweep.names, hydra_adapter.MULTIRUN])
    arguments = [job.arguments for job in checked]
    command = CommandLine(checks.config_name, options, sweep=launches[0].config["sweep"])
    if sweep.is_grid:
        return command._replace(
            jobs=launches,
            arguments=arguments,
            is_numbered=sweep.is_numbered,
            composer=checks.composer,
        )
    search = Search(force_add(arguments[0], added), sweep.space) if sweep.space else None
    return command._replace(search=search)


def _with_added(
    options: Namespace, added: Collection[str], further: Sequence[str] = ()
) -> Namespace:
    """Options whose overrides Hydra accepts, and further overrides."""
    overrides = [*force_add(options.overrides, added), *further]
    return Namespace(**{**vars(options), "overrides": overrides})
