"""One run in several processes: the others join the first."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

FOLDER = "WORKBENCH_RUN_FOLDER"


def folder_to_join() -> Path | None:
    """In ranks above 0, the run folder of rank 0; otherwise None."""
    is_other = int(os.environ.get("LOCAL_RANK", "0")) > 0
    return Path(os.environ[FOLDER]) if is_other and FOLDER in os.environ else None


@contextmanager
def others_join(folder: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Let the processes that Lightning starts run this one job, in its folder.

    Lightning starts them with this process's own command line, which in a sweep is the whole
    sweep; so that is replaced by this job's. Its process group is destroyed for the next job.
    """
    arguments, environment = sys.argv[1:], dict(os.environ)
    sys.argv[1:] = list(overrides)
    os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        sys.argv[1:] = arguments
        os.environ.clear()
        os.environ.update(environment)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
