"""What is said of a worker process that has ended, and of an error that is not the disk's."""

import errno
import os
import signal
import sys

import pytest
from torch.utils.data import DataLoader

from workbench.errors import DataError, RunError
from workbench.loader_workers import naming_lost_workers
from workbench.runs.folder import RunFolder
from workbench.runs.recording import recorded


class _Ends(list):
    """Ten items, one of which ends the process that reads it."""

    def __init__(self, end):
        super().__init__(range(10))
        self.end = end

    def __getitem__(self, index):
        if index == 6:
            self.end()
        return super().__getitem__(index)


# Torch may notice the end again while it deletes the loader.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("end", [sys.exit, lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_a_worker_that_has_ended_is_reported_with_what_to_do(end):
    with (
        pytest.raises(DataError, match=r"has ended .*\n.*without workers, you see where"),
        naming_lost_workers(),
    ):
        list(DataLoader(_Ends(end), num_workers=1, multiprocessing_context="fork"))


def test_other_errors_are_not_taken_for_a_worker_that_has_ended():
    with pytest.raises(ConnectionResetError), naming_lost_workers():
        raise ConnectionResetError


@pytest.mark.parametrize(
    ("error", "is_of_disk"),
    [
        (OSError(errno.ENOSPC, "No space left"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", "{folder}/checkpoints/last.ckpt"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", b"{folder}/events"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", "/data/images.bin"), False),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), False),
    ],
)
def test_only_an_error_of_writing_the_run_is_said_to_be_one(error, is_of_disk, tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    folder.claim()
    if error.filename:
        path = os.fsdecode(error.filename).format(folder=folder.path)
        error.filename = os.fsencode(path) if isinstance(error.filename, bytes) else path
    kind = RunError if is_of_disk else type(error)
    with pytest.raises(kind) as raised, recorded(folder, lambda: False):
        raise error
    assert ("could not be written" in str(raised.value)) == is_of_disk
    assert folder.read_metrics()["status"] == "failed"


def test_a_run_whose_folder_was_moved_says_where_it_can_be_resumed(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    folder.claim()
    file = folder.path / "events"

    def move_it():
        folder.path.rename(tmp_path / "moved")
        file.open("rb")

    gone = pytest.raises(RunError, match="is gone; if you have moved it, resume it there")
    with gone, recorded(folder, lambda: False):
        move_it()
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
