"""Loggers that keep their own record of a run elsewhere: Weights & Biases and MLflow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from workbench.errors import RunError
from workbench.runs.folder import RunFolder

NAME = {WandbLogger: "name", MLFlowLogger: "run_name"}
ID = {WandbLogger: "id", MLFlowLogger: "run_id"}
"""The arguments for a run's name, and for the id of a run to resume."""


def run_arguments(logger: type, folder: RunFolder, first_step: int | None) -> dict[str, Any]:
    """Arguments with which a logger names its run after the folder, or resumes it.

    TensorBoard's logger drops what was logged from the first step of a resumed run on.
    """
    if issubclass(logger, TensorBoardLogger) and first_step is not None:
        return {"purge_step": first_step}
    if logger not in ID:
        return {}
    ids = folder.read_metrics().get("tracked", {})
    known = {ID[logger]: ids[logger.__name__]} if logger.__name__ in ids else {}
    return {NAME[logger]: folder.path.name, **known}


@contextmanager
def open_trackers(loggers: Sequence[Logger]) -> Iterator[dict[str, str]]:
    """Open the runs that loggers have elsewhere; yield the ids by the loggers' class names.

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
            if isinstance(logger, WandbLogger):  # or the next job of a sweep would resume it
                logger.experiment.finish(exit_code=status)


def _open(logger: Any) -> str:
    try:
        _ = logger.experiment
        return str(logger.version)
    except Exception as error:  # of a network, a database or an account
        raise RunError(f"{type(logger).__name__} cannot start: {error}") from error
