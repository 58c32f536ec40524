"""The entry point of scripts: read the command line, run its jobs, report errors in a message."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import leave_at_interrupts, note_interrupts, plain_errors
from workbench.fewer_imports import import_torchmetrics
from workbench.project import Project, hand_over
from workbench.terminal import outlive_terminal

if TYPE_CHECKING:
    from omegaconf import DictConfig


def script(
    name: str, project: Project
) -> Callable[[Callable[["DictConfig"], Any]], Callable[[], None]]:
    """Decorator that turns a function of a config into the `main` of `scripts/<name>.py`.

    All jobs of the command line are checked before the first one starts. Heavy modules are imported
    inside `main` only, so that Ctrl-C ends in one line in the first seconds too.
    """
    hand_over(project)

    def decorator(task: Callable[["DictConfig"], Any]) -> Callable[[], None]:
        @functools.wraps(task)
        def plain_task(cfg: "DictConfig") -> Any:
            hand_over(project)  # again, for the processes that a launcher starts
            with plain_errors():
                import_torchmetrics()
                return task(cfg)

        def main() -> None:
            leave_at_interrupts()
            outlive_terminal()
            with plain_errors():
                from workbench.jobs import hydra_adapter
                from workbench.jobs.command_line import read_command_line
                from workbench.jobs.launch import AUTOMATIC
                from workbench.jobs.options import Parser

                command = read_command_line(name, sys.argv[1:])
            note_interrupts()
            vars(plain_task)["command"] = command  # for the sweeper
            folder = command.options.config_dir
            with plain_errors(), hydra_adapter.opened(project.configs, name, folder):
                if command.composed and command.composed.hydra.run.dir != AUTOMATIC:
                    from workbench.runs.output import check_writable

                    path = Path(command.composed.hydra.run.dir, "config.yaml")
                    check_writable([path], "Choose another place with hydra.run.dir=...")
                failed = hydra_adapter.start(
                    command.options, command.config_name, plain_task, Parser(), command.composed
                )
            if (command.jobs or command.search) and failed:
                sys.exit(1)

        return main

    return decorator
