"""The sweeper of grids: no job starts before all are checked, and what is done is not launched."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig


@dataclass
class CheckedSweeperConf:
    """`hydra/sweeper=checked`.

    Args:
        max_batch_size: so many jobs are given to the launcher at once; by default all.
        params: what is varied, as `key: values`.
    """

    _target_: str = "hydra_plugins.workbench.checked_sweeper.CheckedSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/sweeper", name="checked", node=CheckedSweeperConf, provider="workbench"
)


class CheckedSweeper(Sweeper):
    """Launches every combination of values, once all of them are checked.

    Args:
        max_batch_size: so many jobs are given to the launcher at once; None for all.
        params: what is varied, as a config file says it.
    """

    def __init__(self, max_batch_size: int | None, params: Any = None) -> None:
        self.max_batch_size = max_batch_size

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: Callable[[DictConfig], Any],
        config: DictConfig,
    ) -> None:
        """Make the launcher.

        Args:
            hydra_context: what a launcher composes with.
            task_function: does a job; its attribute `command` is the checked command line.
            config: of the sweep.
        """
        from workbench.config import hydra_adapter

        # Taken from it, as a launcher sends the function to other processes.
        self.command = vars(task_function).pop("command")
        self.launcher = hydra_adapter.launcher_of(config, hydra_context, task_function)

    def sweep(self, arguments: list[str]) -> int:
        """Launch the jobs that are not done; how many failed."""
        from workbench.sweeps.sweep import launch_all

        return launch_all(self.command, self.launcher, self.max_batch_size)
