"""Check jobs before the first of them starts, and collect all problems at once."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from workbench.config.problem import Problem, raise_all
from workbench.errors import ConfigError
from workbench.fewer_imports import import_torchmetrics
from workbench.jobs import hydra_adapter
from workbench.jobs.compose import Composed, Composer
from workbench.jobs.derived import JobTemplate
from workbench.jobs.files import PRESETS
from workbench.jobs.hydra_settings import SWEEP_ONLY, find_problems_of_hydra, refuse
from workbench.jobs.launch import launch_of
from workbench.jobs.locate import find_file, key_of, shorten_path
from workbench.jobs.messages import resolving
from workbench.jobs.search import find_problems_of_search
from workbench.jobs.sources import source_of
from workbench.jobs.sweep import Sweep, read_sweep
from workbench.project import Config, the_project
from workbench.training.launch import Launch


class CheckedJob(NamedTuple):
    """A job that was checked.

    Args:
        added: keys of its overrides that no config file has.
        problems: messages about what is wrong.
        launch: the job, if nothing is wrong and it trains a new run.
        arguments: its overrides, for a launcher.
        composed: the config of a single job, with Hydra's own settings; None in a sweep, as the
            configs of a thousand jobs take too much memory.
    """

    added: set[str]
    problems: list[str]
    launch: Launch | None = None
    arguments: Sequence[str] = ()
    composed: DictConfig | None = None


class Checks:
    """Checks the jobs of one command line; what several jobs share is checked once."""

    def __init__(self, script: str, config_name: str) -> None:
        self.script, self.config_name = script, config_name
        self.composer = Composer(config_name)
        self._hydra_problems: dict[tuple[str, ...], list[Problem]] = {}
        self._sweeper: Any = None
        self._rules: Any = None
        self._template: JobTemplate | None = None
        self._added: set[str] = set()

    def check_shown(self, options: Namespace) -> set[str]:
        """Check that a config can be shown; return the keys of overrides that no file has.

        Raises:
            ConfigError: lists everything that is wrong.
        """
        composed = self.composer.compose(options.overrides)
        raise_all([*composed.problems, *self._check_hydra(composed)])
        config = composed.config
        if options.package not in (None, "_global_") and (
            OmegaConf.select(config, options.package, throw_on_resolution_failure=False) is None
        ):
            raise ConfigError(f"--package {options.package}: the config has no such part")
        if options.resolve and options.cfg == "job":
            with resolving():
                hydra_adapter.resolved(config)
        return composed.added

    def read_sweep(self, overrides: Sequence[str]) -> Sweep:
        """The jobs of a sweep, before any of them is checked.

        Raises:
            ConfigError: if the settings that they share are wrong, or one cannot be varied.
        """
        parsed = self.composer.parse(overrides)
        shared = [o.input_line for o in parsed if not o.is_sweep_override()]
        composed = self.composer.compose(shared)
        raise_all(self._check_hydra(composed))
        self._sweeper = hydra_adapter.unresolved(composed.config)["hydra"]["sweeper"]
        return read_sweep(self.composer, composed, parsed)

    def check_search(self, sweep: Sweep) -> None:
        """Raise a ConfigError for wrong settings of a search, once its jobs are checked."""
        composed = self.composer.compose(sweep.jobs[0], 0)
        with resolving():
            settings: Any = OmegaConf.to_container(composed.config.hydra.sweeper, resolve=True)
        metric = composed.config.get("optimized_metric")
        found = find_problems_of_search(settings, sweep.space, metric)
        raise_all(self._with_source(problem, composed) for problem in found)

    def check(self, overrides: Sequence[str], number: int | None = None) -> CheckedJob:
        """Check one job, with its number if it is one of a sweep."""
        if number is not None and (checked := self._check_derived(overrides)):
            return checked
        composed = self.composer.compose(overrides, number)
        config, problems = composed.config, list(composed.problems)
        unresolved = hydra_adapter.unresolved(config, hydra=False)
        found = self._check_hydra(composed)
        found += [
            Problem(f"{name}=", ": is empty; give it a value, or leave it out")
            for name in ("name", "log_dir", "resume")
            if unresolved.get(name) == ""
        ]
        if resumes := bool(unresolved.get("resume")):
            found += _refuse_typed(composed, {"hydra.run.": "a run that is resumed has its folder"})
        if number is None:
            if self.script == "train":
                found += _refuse_typed(composed, {"sweep=": "it names a sweep, which -m asks for"})
            if hydra_adapter.is_sweep(config.hydra):
                found.append(Problem("hydra.mode", "=MULTIRUN: type -m instead"))
            found += [] if found else refuse(composed.applied, SWEEP_ONLY)
        job: dict[str, Any] = {}
        if not resumes:  # a run that is resumed has a config of its own
            wrong, job = self._check_rules(unresolved, config)
            found += wrong
            if self.script == "train" and job and not found:
                found += refuse([*composed.choices, *composed.applied], the_project().unused(job))
        problems += [self._with_source(problem, composed) for problem in found]
        single = config if number is None else None
        if problems or self.script != "train" or resumes:
            return CheckedJob(composed.added, problems, composed=single)
        launch = launch_of(job, config.hydra)
        arguments = [text for text in composed.applied if not _is_of_hydra(text)]
        folder: Any = OmegaConf.to_container(config.hydra.sweep)
        texts = [*map(str, folder.values())]
        parsed = self.composer.parse(overrides)
        self._template = JobTemplate(parsed, arguments, unresolved, texts, launch)
        self._added = composed.added
        return CheckedJob(composed.added, [], launch, arguments, single)

    def _check_derived(self, overrides: Sequence[str]) -> CheckedJob | None:
        """A job derived from the last one composed; None if that is not possible or it is wrong."""
        job = self._template and self._template.derive(self.composer.parse(overrides))
        if not job or self._rules.find_problems(job.unresolved, job.launch.config):
            return None
        return CheckedJob(self._added, [], job.launch, job.arguments)

    def _check_hydra(self, composed: Composed) -> list[Problem]:
        overrides = (*composed.choices, *filter(_is_of_hydra, composed.applied))
        if overrides not in self._hydra_problems:
            settings = hydra_adapter.unresolved(composed.config)["hydra"]
            found = [*find_problems_of_hydra(self.script, settings)]
            if self._sweeper not in (None, settings["sweeper"]):
                message = ": has to be the same for all jobs of a sweep; choose one file for all"
                found.append(Problem("hydra.sweeper", message))
            self._hydra_problems[overrides] = found
        return [*self._hydra_problems[overrides]]

    def _with_source(self, problem: Problem, composed: Composed) -> str:
        """The message about a problem, with the override or file that it comes from."""
        if problem.place in PRESETS:  # the preset's settings were put under its group's name
            chosen = composed.config.hydra.runtime.choices[problem.place]
            file = shorten_path(find_file(f"{problem.place}/{chosen}", composed.choices))
            return f"{file}: should begin with the line `# @package _global_`"
        source = source_of(problem, self.composer, composed)
        return f"{problem}  ({source})" if source else str(problem)

    def _check_rules(self, unresolved: Config, config: DictConfig) -> tuple[list[Problem], Config]:
        import_torchmetrics()
        from workbench.jobs.rules import Rules  # imports torch

        self._rules = self._rules or Rules(self.script)
        return self._rules.check(unresolved, config)


def _refuse_typed(composed: Composed, refused: Mapping[str, str]) -> list[Problem]:
    """Refuse overrides that were typed: the processes that Lightning starts are given those too."""
    from workbench.child_processes import folder_to_join  # imports torch

    problems = refuse(composed.applied, refused)
    return [] if problems and folder_to_join() else problems


def _is_of_hydra(override: str) -> bool:
    return key_of(override).startswith(("hydra.", "hydra/"))
