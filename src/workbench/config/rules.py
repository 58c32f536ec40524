"""Everything that can be wrong with a job, found before it starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from workbench.config import hydra_adapter
from workbench.config.check import find_problems
from workbench.config.misfits import find_misfits
from workbench.config.problem import Problem
from workbench.project import Config, the_project


class Rules:
    """Checks the jobs of a script; what several of them share is checked once.

    Args:
        script: whose jobs they are: `train` and so on.
    """

    def __init__(self, script: str) -> None:
        self.script = script
        self._checked: dict[str, list[Problem]] = {}
        self._misfits: dict[str, list[Problem]] = {}
        self._small: dict[str, Any] = {}

    def check(self, written: Config, job: DictConfig) -> tuple[list[Problem], Config]:
        """The faults of a composed job, and its resolved config.

        Whether its parts fit one another is checked last.

        Args:
            written: the job, with interpolations as they are written.
            job: composed; Hydra's own settings in it are left out.
        """
        if missing := list(_missing(written, "")):
            return missing, {}
        try:
            config = hydra_adapter.resolved(job)
        except OmegaConfBaseException as error:
            return [Problem(error.full_key or "", f": {str(error).splitlines()[0]}")], {}
        return self.find(written, config), config

    def find(self, written: Config, config: Config) -> list[Problem]:
        """The faults of a job that misses no value and whose interpolations lead somewhere.

        Args:
            written: the job, with interpolations as they are written.
            config: the job, resolved.
        """
        settings = the_project().settings()[self.script]
        problems = find_problems(config, settings, self._checked)
        if problems or self.script != "train":
            return problems
        same = repr(_without_seed(config, {**written, "seed": "${seed}"}))
        if same not in self._misfits:
            self._misfits[same] = list(find_misfits(config, self._small, begins=True))
        return self._misfits[same]


def _without_seed(config: Any, written: Any) -> Any:
    """A config without its seed and without the copies of that."""
    if not isinstance(config, Mapping) or not isinstance(written, Mapping):
        return config
    return {
        name: _without_seed(value, written[name])
        for name, value in config.items()
        if written[name] != "${seed}"
    }


def _missing(node: Any, place: str) -> Iterator[Problem]:
    if node == "???":
        yield Problem(place, " is missing: it has no default, so give it a value")
    for key, value in node.items() if isinstance(node, Mapping) else []:
        yield from _missing(value, f"{place}.{key}" if place else key)
