"""The sweeper of grids: no job starts before all are checked, and what is done is not launched."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig, flag_override

from workbench.config.resolvers import register_resolvers

register_resolvers()  # Hydra loads its plugins first, so that its own `compose` knows them too


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
        self.config: Any = None

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
            task_function: does a job; its attribute `command`, if it has one, is the checked
                command line.
            config: of the sweep.
        """
        from workbench.config import hydra_adapter

        self.config = config
        # Taken from it, as a launcher sends the function to other processes.
        self.command = vars(task_function).pop("command", None)
        self.launcher = hydra_adapter.launcher_of(config, hydra_context, task_function)

    def sweep(self, arguments: list[str]) -> int:
        """Check all jobs, unless that was done, and launch those that are not done.

        Args:
            arguments: the overrides of the sweep, without Hydra's own.

        Returns:
            How many jobs failed.
        """
        from workbench.sweeps.sweep import launch_all

        return launch_all(self.checked(arguments), self.launcher, self.max_batch_size)

    def checked(self, arguments: list[str]) -> Any:
        """The checked command line.

        Args:
            arguments: the overrides of the sweep, without Hydra's own.
        """
        if self.command is None:  # of a script without the workbench's frame
            from workbench.config.command_line import read_command_line

            hydra = self.config.hydra
            own = [text for text in hydra.overrides.hydra if not text.startswith("hydra.mode=")]
            name = f"--config-name={hydra.job.config_name}"
            self.command = read_command_line(hydra.job.name, ["-m", name, *own, *arguments])
            with flag_override(self.config, "struct", False):
                self.config.sweep = self.command.sweep  # for its folder
        return self.command
