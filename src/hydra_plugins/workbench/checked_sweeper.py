"""The sweeper of grids: checks all jobs before one starts, and launches those not yet done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, flag_override

from workbench.project import the_project

# A path in the repository, whatever the working directory. Hydra imports its plugins before it
# composes a config, so the resolver is registered wherever one is resolved.
OmegaConf.register_new_resolver(
    "in_repository", lambda path: str(the_project().root / path), replace=True
)


@dataclass
class CheckedSweeperConf:
    """`hydra/sweeper=checked`: the arguments of `CheckedSweeper`."""

    _target_: str = "hydra_plugins.workbench.checked_sweeper.CheckedSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/sweeper", name="checked", node=CheckedSweeperConf, provider="workbench"
)


class CheckedSweeper(Sweeper):
    """Launches every combination of values, once all are checked.

    Args:
        max_batch_size: the most jobs that the launcher gets at once; None for all.
        params: the settings that a config file varies, as `key: values`; `read_command_line` has
            read them already.
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
        """Make the launcher; the attribute `command` of the task is the checked command line."""
        self.config = config
        # Removed, as a launcher may pickle the function for other processes.
        self.command = vars(task_function).pop("command", None)
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> int:
        """Check all jobs, if they are not checked yet, and launch those that are not done.

        Returns:
            The number of jobs that failed.
        """
        from workbench.sweeps.sweep import launch_all

        return launch_all(self.checked(arguments), self.launcher, self.max_batch_size)

    def checked(self, arguments: list[str]) -> Any:
        """The checked command line; it is checked now if `script` has not done so."""
        if self.command is None:  # the script is not made by workbench.script
            from workbench.jobs.command_line import read_command_line

            hydra = self.config.hydra
            own = [text for text in hydra.overrides.hydra if not text.startswith("hydra.mode=")]
            name = f"--config-name={hydra.job.config_name}"
            self.command = read_command_line(hydra.job.name, ["-m", name, *own, *arguments])
            with flag_override(self.config, "struct", False):
                self.config.sweep = self.command.sweep  # for its folder
        return self.command
