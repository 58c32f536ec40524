"""The launcher that trains runs which differ in numbers only as one model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

from workbench.errors import ConfigError


@dataclass
class StackedLauncherConf:
    """`hydra/launcher=stacked`.

    Args:
        at_once: the most runs that are trained as one; they share the device's memory.
    """

    _target_: str = "hydra_plugins.workbench.stacked_launcher.StackedLauncher"
    at_once: int = 64


ConfigStore.instance().store(
    group="hydra/launcher", name="stacked", node=StackedLauncherConf, provider="workbench"
)


class StackedLauncher(Launcher):
    """Trains runs in stacks; the sweeper of grids gives it the jobs as it has checked them.

    Args:
        at_once: the most runs that are trained as one.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def setup(self, **_: Any) -> None:
        """Nothing is to be set up."""

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Do checked jobs.

        Raises:
            ConfigError: if none are to be trained at once.
        """
        if self.at_once < 1:
            raise ConfigError(f"hydra.launcher.at_once={self.at_once}: should be 1 or more")
        from workbench.stacked.launch import run_jobs

        run_jobs(jobs, self.at_once)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        """Refuse jobs of other sweepers.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("hydra/launcher=stacked is for grids; a search has other launchers")
