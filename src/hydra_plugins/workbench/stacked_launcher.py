"""The launcher that trains runs in stacks: those that differ only in numbers, as one model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

from workbench.errors import ConfigError


@dataclass
class StackedLauncherConf:
    """`hydra/launcher=stacked`: the arguments of `StackedLauncher`."""

    _target_: str = "hydra_plugins.workbench.stacked_launcher.StackedLauncher"
    at_once: int = 64


ConfigStore.instance().store(
    group="hydra/launcher", name="stacked", node=StackedLauncherConf, provider="workbench"
)


class StackedLauncher(Launcher):
    """Trains runs in stacks. The sweeper of grids calls `run_jobs` instead of `launch`.

    Args:
        at_once: the most runs in a stack; they share the device's memory.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def setup(self, **_: Any) -> None:
        """Set up nothing: jobs come checked, and are not composed again."""

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Train the runs of checked jobs.

        Raises:
            ConfigError: if `at_once` is less than 1.
        """
        if self.at_once < 1:
            raise ConfigError(f"hydra.launcher.at_once={self.at_once}: should be 1 or more")
        from workbench.stacked.launch import run_jobs

        run_jobs(jobs, self.at_once)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        """Refuse the jobs of other sweepers.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("hydra/launcher=stacked is for grids; a search has other launchers")
