"""Make the folder of a new run, in the first of its processes."""

import platform
import time
from datetime import timedelta
from pathlib import Path

from workbench.errors import RunError
from workbench.processes import Processes
from workbench.runs.folder import RunFolder
from workbench.training.launch import Launch

SHARED_FOLDER_TIMEOUT = timedelta(minutes=1)
"""How long a network file system may take to show a folder that another node has made."""


def new_folder(launch: Launch, processes: Processes) -> RunFolder:
    """Make a run folder in the first process, and wait until the others see it."""
    made = None
    with processes.failing_together():
        if processes.rank == 0:
            made = _make_folder(launch)
    path = Path(processes.gather(made and str(made.path.absolute()))[0])
    try:
        with processes.failing_together():
            if not made:
                check_shared(path)
    except BaseException:
        if made:
            made.discard()
        raise
    return made or RunFolder(path)


def _make_folder(launch: Launch) -> RunFolder:
    if launch.is_named:
        return RunFolder.claim_new(launch.parent / launch.name)
    folder = RunFolder.create(launch.parent, launch.name)
    folder.claim()
    return folder


def check_shared(folder: Path) -> None:
    """Raise a RunError unless this node sees the run folder that the first process has made."""
    end = time.monotonic() + SHARED_FOLDER_TIMEOUT.total_seconds()
    while not (folder / "checkpoints").is_dir():
        if time.monotonic() > end:
            raise RunError(
                f"{platform.node()} does not see {folder}, made by the first process of this run: "
                "put log_dir=... on a file system that all nodes share"
            )
        time.sleep(0.1)
