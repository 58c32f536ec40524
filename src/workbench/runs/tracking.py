"""Loggers that keep runs of their own elsewhere: Weights & Biases and MLflow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from workbench.errors import RunError
from workbench.runs.folder import RunFolder

NAME = {WandbLogger: "name", MLFlowLogger: "run_name"}
ID = {WandbLogger: "id", MLFlowLogger: "run_id"}
"""The arguments that say what a run is called, and with which run to go on."""


def of_this_run(logger: type, folder: RunFolder) -> dict[str, str]:
    """Arguments by which a logger calls its run as the folder, and goes on with that same run."""
    if logger not in ID:
        return {}
    ids = folder.read_metrics().get("tracked", {})
    known = {ID[logger]: ids[logger.__name__]} if logger.__name__ in ids else {}
    return {NAME[logger]: folder.path.name, **known}


@contextmanager
def tracked(loggers: Sequence[Logger]) -> Iterator[dict[str, str]]:
    """Within it the runs of these loggers are open; gives their ids by the loggers' names.

    Raises:
        RunError: if a run cannot be opened.
    """
    ids = {type(logger).__name__: _open(logger) for logger in loggers if type(logger) in ID}
    status = 1
    try:
        yield ids
        status = 0
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):  # or the next job of a sweep would go on with it
                logger.experiment.finish(exit_code=status)


def _open(logger: Any) -> str:
    try:
        _ = logger.experiment
        return str(logger.version)
    except Exception as error:  # of a network, a database or an account
        raise RunError(f"{type(logger).__name__} cannot begin: {error}") from error
