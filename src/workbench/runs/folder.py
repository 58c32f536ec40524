"""The folder of a run."""

import fcntl
import itertools
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from workbench.config.naming import LONGEST_NAME, cut
from workbench.errors import RunError
from workbench.runs.checkpoints import RunCheckpoints
from workbench.runs.contents import check_inside, check_own

CLAIM_TIMEOUT = 0.5
"""The seconds that a claim waits by default, because `status` takes the lock for a moment."""


class ClaimedError(RunError):
    """A run folder that another process has claimed."""


class RunFolder(RunCheckpoints):
    """The folder of one run, with its checkpoints, and a lock so that only one process writes.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = FileLock(path / ".lock", thread_local=False)
        self._preexisting = set(os.listdir(path)) if path.is_dir() else set()

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunFolder":
        """Make a folder of that name in `parent`, or `name_2` and so on if it exists.

        Names never collide: `mkdir` succeeds in only one of two processes.

        Raises:
            RunError: if the folder cannot be made.
        """
        name = cut(name.replace("/", "_"), LONGEST_NAME)
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        try:
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                path = parent / next(names)
                with suppress(FileExistsError):
                    path.mkdir()
                    folder = cls(path)
                    (path / "checkpoints").mkdir()
                    return folder
        except OSError as error:
            raise RunError(
                f"Cannot make a run folder in {parent}: {error}.\n"
                "Choose another place with log_dir=..."
            ) from error

    @classmethod
    def claim_new(cls, path: Path) -> "RunFolder":
        """Claim the folder of exactly that path for a new run; it is made if it does not exist.

        Raises:
            RunError: if it holds a run already, or cannot be made.
        """
        folder = cls.at(path)
        folder.claim()
        if (path / "config.yaml").exists() or folder.was_begun():
            folder.release()
            raise RunError(
                f"{path} holds a run already: resume it with resume={path}, or name another folder"
            )
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of an existing run.

        Raises:
            RunError: if it is not a run folder, a link in it leads out of it, or something in it
                is neither a file nor a folder.
        """
        if not (path / "config.yaml").is_file():
            raise RunError(
                f"{path} is not a run folder: it holds no config.yaml.\n"
                "A training run prints its folder at the end, such as logs/runs/..."
            )
        check_inside(path, path)
        return cls(path)

    @classmethod
    def at(cls, path: Path) -> "RunFolder":
        """The folder of exactly that path, which is made if it does not exist.

        Raises:
            RunError: if it cannot be made, or holds something other than a run.
        """
        check_own(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            (path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"Cannot make the run folder {path}: {error}") from error
        return folder

    def claim(self, timeout: float = CLAIM_TIMEOUT) -> None:
        """Lock the folder against other processes, until `release` or the end of this one.

        Args:
            timeout: seconds to wait for another process that has claimed it; −1 for any time.

        Raises:
            ClaimedError: if another process has claimed it.
            RunError: if the folder cannot be written.
        """
        try:
            self._lock.acquire(timeout)
        except Timeout:
            raise ClaimedError(
                f"{self.path} belongs to a run that is still running.\n"
                "Wait for it, or stop it first: Ctrl-C or SIGTERM lets it save where it is."
            ) from None
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error}") from error

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def discard(self) -> None:
        """Remove the folder of a run that has not begun, except for what was there before."""
        for entry in [*self.path.iterdir()]:
            if entry.name not in self._preexisting:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        with suppress(OSError):
            self.path.rmdir()
        self.release()

    def status(self, metrics: Mapping[str, Any]) -> str:
        """The status in these entries of `metrics.json`, or `killed`.

        It is `completed`, `pruned`, `failed`, `interrupted` or `running`; a run is `killed` if its
        process ended without recording how.
        """
        status = str(metrics.get("status") or "running")
        return "killed" if status == "running" and not self._is_claimed() else status

    def _is_claimed(self) -> bool:
        """True if a process has claimed the folder, in which nothing is written."""
        try:
            with (self.path / ".lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def was_begun(self) -> bool:
        """True if training has started in this folder."""
        return any((self.path / "checkpoints").iterdir()) or any(self.path.glob("events*"))
