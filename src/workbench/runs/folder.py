"""The folder of a run."""

import itertools
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from workbench.config.naming import LONGEST_NAME, cut
from workbench.errors import RunError
from workbench.links import leads_out
from workbench.runs.contents import check_inside, check_own
from workbench.runs.files import RunFiles

NAMES = ("best", "last", "previous")
"""The checkpoints of `BestAndLast`."""

CLAIM_TIMEOUT = 0.5
"""The seconds that a claim waits by default, because `status_of` takes the lock for a moment."""


class ClaimedError(RunError):
    """A run folder that another process has claimed."""


class RunFolder(RunFiles):
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
        if sys.platform == "win32":  # where no open file can be removed
            self.release()
        for entry in [*self.path.iterdir()]:
            if entry.name not in self._preexisting:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        with suppress(OSError):
            self.path.rmdir()
        self.release()

    def is_claimed(self) -> bool:
        """True if a process has claimed the folder."""
        try:
            self.claim()
        except RunError:
            return True
        self.release()
        return False

    def was_begun(self) -> bool:
        """True if training has started in this folder."""
        return any((self.path / "checkpoints").iterdir()) or any(self.path.glob("events*"))

    def checkpoint(self, name: str) -> Path:
        """The file of a checkpoint: `best`, `last`, `previous` (before `last`), or another.

        If Lightning's own ModelCheckpoint wrote the best one, `metrics.json` names it. Others are
        found by name, with or without `.ckpt`, or by path.

        Raises:
            RunError: if there is no other checkpoint of that name, or more than one.
        """
        if name not in NAMES:
            return self._other_checkpoint(name)
        path = self.path / "checkpoints" / f"{name}.ckpt"
        if name == "best" and not path.exists():
            with suppress(RunError):  # of a damaged `metrics.json`
                best = self.read_metrics().get("best")
                return next((p for p in self.other_checkpoints() if self.inside(p) == best), path)
        return path

    def other_checkpoints(self) -> list[Path]:
        """The checkpoints of other names than `BestAndLast` gives, newest first."""
        ours = {self.path / "checkpoints" / f"{name}.ckpt" for name in NAMES}
        others = {path for path in self.path.rglob("*.ckpt") if self.inside(path)} - ours
        return sorted(others, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)

    def checkpoint_name(self, name: str) -> str:
        """The full name of `checkpoint(name)`: its path in `checkpoints/`, without the suffix."""
        if name in NAMES:
            return name
        path = self.checkpoint(name)
        return next(full for full, other in self._named_checkpoints().items() if other == path)

    def _other_checkpoint(self, name: str) -> Path:
        paths = self._named_checkpoints()
        place = Path(name).absolute()
        found = [paths[name]] if name in paths else []
        found = found or [p for p in paths.values() if name in (p.stem, p.name)]
        found = found or [p for p in paths.values() if p.absolute() == place]
        if len(found) == 1:
            return found[0]
        problem = f"several checkpoints called {name}" if found else f"no checkpoint {name}"
        raise RunError(f"{self.path} has {problem}; it has: {', '.join(paths) or 'none'}")

    def _named_checkpoints(self) -> dict[str, Path]:
        """All checkpoints, by `checkpoint_name`."""
        paths = {self.inside(path): path for path in sorted(self.path.rglob("*.ckpt"))}
        return {
            name.removeprefix("checkpoints/").removesuffix(".ckpt"): path
            for name, path in paths.items()
            if name
        }

    def inside(self, path: Path) -> str | None:
        """The path of a file relative to this folder; None if it is not a file in there."""
        if leads_out(path, self.path) or not path.is_file():
            return None
        return path.resolve().relative_to(self.path.resolve()).as_posix()
