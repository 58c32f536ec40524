"""Check a composed job before it starts: first each setting, then how the parts fit one another."""

from omegaconf import DictConfig

from workbench.config.check import find_problems
from workbench.config.misfits import find_misfits
from workbench.config.nested import dotted, flatten, leaves
from workbench.config.problem import Problem
from workbench.config.trials import Trials
from workbench.config.values import MISSING
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter
from workbench.jobs.messages import resolving
from workbench.project import Config, the_project
from workbench.training.init_from import check_fits


class Rules:
    """Checks the jobs of a script; what several jobs share is checked once."""

    def __init__(self, script: str) -> None:
        self.script = script
        self._entries: dict[str, list[Problem]] = {}
        self._misfits: dict[str, list[Problem]] = {}
        self._trials = Trials(check_fits)

    def check(self, unresolved: Config, job: DictConfig) -> tuple[list[Problem], Config]:
        """The problems of a composed job, and its resolved config, empty if it cannot be resolved.

        `unresolved` is the job as plain values, with its interpolations.
        """
        if missing := [dotted(path) for path, value in leaves(unresolved) if value == MISSING]:
            message = " is missing: it has no default, so give it a value"
            return [Problem(name, message) for name in missing], {}
        try:
            with resolving():
                config = hydra_adapter.resolved(job)
        except ConfigError as error:
            return [Problem.of(error)], {}
        return self.find_problems(unresolved, config), config

    def find_problems(self, unresolved: Config, config: Config) -> list[Problem]:
        """The problems of a job that misses no value and whose interpolations were resolved."""
        settings = the_project().settings()[self.script]
        problems = find_problems(config, settings, self._entries)
        if problems or self.script != "train":
            return problems
        raw = flatten({**unresolved, "seed": "${seed}"})
        without_seed = {n: v for n, v in flatten(config).items() if raw.get(n) != "${seed}"}
        key = repr(without_seed)
        if key not in self._misfits:
            self._misfits[key] = list(find_misfits(config, self._trials))
        return self._misfits[key]
