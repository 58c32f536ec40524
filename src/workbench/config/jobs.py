"""Checks of jobs before the first of them starts, all faults at once."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.config import hydra_adapter
from workbench.config.alike import Pattern
from workbench.config.compose import Composed, Composer
from workbench.config.faults import find_file, key_of, shortened
from workbench.config.files import PRESETS
from workbench.config.hydra_settings import OF_A_SWEEP, find_problems_of_hydra, find_typed
from workbench.config.launch import Launch, launch_of
from workbench.config.problem import Problem
from workbench.config.search import find_problems_of_search
from workbench.config.sources import source_of
from workbench.config.sweep import Sweep, read_sweep
from workbench.errors import ConfigError
from workbench.fewer_imports import import_torchmetrics
from workbench.project import Config, the_project


class CheckedJob(NamedTuple):
    """The result of the check of a job.

    Args:
        added: the settings that no config file has.
        problems: what is wrong.
        launch: the job, if nothing is and it trains.
        arguments: its overrides, for a launcher.
        composed: its config as Hydra has it, unless it is one of a sweep: a thousand are too many.
    """

    added: set[str]
    problems: list[str]
    launch: Launch | None = None
    arguments: list[str] = []  # noqa: RUF012
    composed: DictConfig | None = None


class Checks:
    """Checks the jobs of one command line; what several of them share is checked once."""

    def __init__(self, script: str, config_name: str) -> None:
        self.script, self.config_name = script, config_name
        self.composer = Composer(config_name)
        self._of_hydra: dict[tuple[str, ...], list[Problem]] = {}
        self._sweeper: Any = None
        self._rules: Any = None
        self._pattern: Pattern | None = None
        self._added: set[str] = set()

    def show(self, options: Namespace) -> set[str]:
        """Check that a config can be shown; the settings of it that no config file has."""
        composed = self.composer.compose(options.overrides)
        raise_all([*composed.problems, *map(str, self._problems_of_hydra(composed))])
        config = composed.config
        if options.package not in (None, "_global_") and (
            OmegaConf.select(config, options.package, throw_on_resolution_failure=False) is None
        ):
            raise ConfigError(f"--package {options.package}: the config has no such part")
        if options.resolve and options.cfg == "job":
            try:
                hydra_adapter.resolved(config)
            except OmegaConfBaseException as error:
                raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
        return composed.added

    def sweep(self, overrides: Sequence[str]) -> Sweep:
        """The jobs of a sweep, none of which is checked yet."""
        parsed = self.composer.parse(overrides)
        fixed = [o.input_line for o in parsed if not o.is_sweep_override()]
        composed = self.composer.compose(fixed)
        raise_all(map(str, self._problems_of_hydra(composed)))
        self._sweeper = hydra_adapter.written(composed.config)["hydra"]["sweeper"]
        return read_sweep(self.composer, composed, parsed)

    def find_problems_of_search(self, sweep: Sweep) -> list[str]:
        """The faults in the settings of a search, whose jobs have been checked."""
        composed = self.composer.compose(sweep.jobs[0], 0)
        try:
            settings = hydra_adapter.sweeper_of(composed.config.hydra)
        except OmegaConfBaseException as error:
            return [f"{error.full_key}: {str(error).splitlines()[0]}"]
        metric = composed.config.get("optimized_metric")
        found = find_problems_of_search(settings, sweep.space, metric)
        return [self._with_source(problem, composed) for problem in found]

    def check(self, overrides: Sequence[str], number: int | None = None) -> CheckedJob:
        """Check one job.

        Args:
            overrides: the job's.
            number: of the job in its sweep.
        """
        if number is not None and (checked := self._check_alike(overrides)):
            return checked
        composed = self.composer.compose(overrides, number)
        config, problems = composed.config, list(composed.problems)
        written = hydra_adapter.written(config, hydra=False)
        found = self._problems_of_hydra(composed)
        for name in ("name", "log_dir", "resume"):
            if written.get(name) == "":
                found.append(Problem(f"{name}=", ": is empty; give it a value, or leave it out"))
        if resumes := bool(written.get("resume")):
            found += _find_folder_of_resumed(composed)
        if number is None:
            if hydra_adapter.is_sweep(config.hydra):
                found.append(Problem("hydra.mode", "=MULTIRUN: type -m instead"))
            found += [] if found else find_typed(composed.fitting, OF_A_SWEEP)
        job: dict[str, Any] = {}
        if not resumes:  # a run that is resumed has a config of its own
            faults, job = self._check_rules(written, config)
            found += faults
            if self.script == "train" and job and not found:
                found += find_typed(
                    [*composed.choices, *composed.fitting], the_project().unused(job)
                )
        problems += [self._with_source(problem, composed) for problem in found]
        alone = config if number is None else None
        if problems or self.script != "train" or resumes:
            return CheckedJob(composed.added, problems, composed=alone)
        launch = launch_of(job, config.hydra)
        arguments = [text for text in composed.fitting if not _is_of_hydra(text)]
        folder = hydra_adapter.folder_settings(config.hydra)
        parsed = self.composer.parse(overrides)
        self._pattern = Pattern(parsed, arguments, written, folder, launch)
        self._added = composed.added
        return CheckedJob(composed.added, [], launch, arguments, alone)

    def _check_alike(self, overrides: Sequence[str]) -> CheckedJob | None:
        """A job without a fault that differs in values from the last that was composed."""
        job = self._pattern and self._pattern.job(self.composer.parse(overrides))
        if not job or self._rules.find(job.written, job.config):
            return None
        return CheckedJob(self._added, [], job.launch, job.arguments)

    def _problems_of_hydra(self, composed: Composed) -> list[Problem]:
        overrides = (*composed.choices, *filter(_is_of_hydra, composed.fitting))
        if overrides not in self._of_hydra:
            settings = hydra_adapter.written(composed.config)["hydra"]
            found = [*find_problems_of_hydra(self.script, settings)]
            if self._sweeper not in (None, settings["sweeper"]):
                fault = ": has to be the same for all jobs of a sweep; choose one file for all"
                found.append(Problem("hydra.sweeper", fault))
            self._of_hydra[overrides] = found
        return [*self._of_hydra[overrides]]

    def _with_source(self, problem: Problem, composed: Composed) -> str:
        """A fault with what it came from; advice, if a preset's settings got its group's name."""
        if problem.place in PRESETS:
            chosen = composed.config.hydra.runtime.choices[problem.place]
            file = shortened(find_file(f"{problem.place}/{chosen}", composed.choices))
            return f"{file}: should begin with the line `# @package _global_`"
        source = source_of(problem.place, self.composer, composed)
        return f"{problem}  ({source})" if source else str(problem)

    def _check_rules(self, written: Config, config: DictConfig) -> tuple[list[Problem], Config]:
        import_torchmetrics()
        from workbench.config.rules import Rules  # imports torch

        self._rules = self._rules or Rules(self.script)
        return self._rules.check(written, config)


def _find_folder_of_resumed(composed: Composed) -> list[Problem]:
    """A folder that is typed for a run that has one; the processes that Lightning starts may."""
    from workbench.distributed import folder_to_join  # imports torch

    if folder_to_join():
        return []
    return find_typed(composed.fitting, {"hydra.run.": "a run that is resumed has its folder"})


def _is_of_hydra(override: str) -> bool:
    return key_of(override).startswith(("hydra.", "hydra/"))


def raise_all(problems: Iterable[str]) -> None:
    """Raise what is wrong, each fault once.

    Raises:
        ConfigError: if anything is.
    """
    if text := "\n".join(dict.fromkeys(problems)):
        raise ConfigError(text)
