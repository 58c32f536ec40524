"""The processes that Lightning starts on one machine, once the first has made the run folder."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

FOLDER_VARIABLE = "WORKBENCH_RUN_FOLDER"
"""The environment variable that hands the run folder to the processes that Lightning starts."""


def folder_to_join() -> Path | None:
    """The run folder of rank 0 in a process that Lightning has started; otherwise None."""
    is_started = int(os.environ.get("LOCAL_RANK", "0")) > 0
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if is_started and folder is not None else None


@contextmanager
def ending_silently(*, joined: bool) -> Iterator[None]:
    """Exit without a message, with status 130, if the run is stopped: rank 0 reports it.

    A process that Lightning started has `joined` and exits with 0: at any other status Lightning
    kills rank 0, which may still have something to write.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0 if joined else 130) from None


@contextmanager
def children_run_job(folder: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Make the processes that Lightning starts run this job, in its folder.

    Lightning starts them with the command line of this process, which may be that of a whole sweep;
    so it is replaced by the job's. At the end the process group is destroyed, for the next job.
    """
    arguments, environment = sys.argv[1:], dict(os.environ)
    sys.argv[1:] = list(overrides)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        sys.argv[1:] = arguments
        os.environ.clear()
        os.environ.update(environment)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
