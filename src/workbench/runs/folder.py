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

LOOK = 0.5
"""The seconds that a claim waits at least, because `status_of` takes the lock for a moment."""


class ClaimedError(RunError):
    """A run folder in which another process writes."""


class RunFolder(RunFiles):
    """The folder of one run, with its checkpoints, and a lock so that only one process writes.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = FileLock(path / ".lock", thread_local=False)
        self._found = set(os.listdir(path)) if path.is_dir() else set()

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunFolder":
        """Make a folder of that name in `parent`, or `name_2` and so on where it is taken.

        `mkdir` decides which of two processes gets a name, so names never collide.

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
        """The folder of that very path for a new run, made if it is not there.

        Raises:
            RunError: if it holds a run already, or cannot be made.
        """
        folder = cls.at(path)
        folder.claim()
        if (path / "config.yaml").exists() or folder.was_begun():
            folder.release()
            raise RunError(
                f"{path} holds a run already: resume it with resume={path}, or take another folder"
            )
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of a run that exists.

        Raises:
            RunError: if it is not a run folder, a link in it leads out of it, or something in it
                is neither a file nor a folder.
        """
        if not (path / "config.yaml").is_file():
            raise RunError(
                f"{path} is not a run folder: it holds no config.yaml.\n"
                "A run folder is what a training run names at its end, such as logs/runs/..."
            )
        check_inside(path, path)
        return cls(path)

    @classmethod
    def at(cls, path: Path) -> "RunFolder":
        """The folder of that very path, made if it is not there.

        Raises:
            RunError: if it cannot be made, or holds something else than a run.
        """
        check_own(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            (path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"Cannot make the run folder {path}: {error}") from error
        return folder

    def claim(self, wait: float = LOOK) -> None:
        """Keep other processes from writing here, until `release` or this process's end.

        Args:
            wait: seconds to wait for another process that writes here; −1 until it ends.

        Raises:
            ClaimedError: if another process does.
            RunError: if nobody can.
        """
        try:
            self._lock.acquire(wait)
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
        """Remove the folder of a run that has not begun; what was found in it stays."""
        if sys.platform == "win32":  # which removes no open file
            self.release()
        for entry in [*self.path.iterdir()]:
            if entry.name not in self._found:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        with suppress(OSError):
            self.path.rmdir()
        self.release()

    def is_claimed(self) -> bool:
        """True if a process is writing here."""
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
        """The file of `best`, `last`, or `previous`, the one that was last before; or any other.

        The best of a run with Lightning's own ModelCheckpoint is named in `metrics.json`. Another
        is found by its name, with `.ckpt` or without, or its path.

        Raises:
            RunError: if the run has no other of that name, or several.
        """
        path = self.path / "checkpoints" / f"{name}.ckpt"
        if name not in NAMES:
            return self._other_checkpoint(name)
        if name == "best" and not path.exists():
            try:
                known = self.read_metrics().get("best")
            except RunError:
                return path
            return next((p for p in self.other_checkpoints() if self.inside(p) == known), path)
        return path

    def other_checkpoints(self) -> list[Path]:
        """The checkpoints with other names, newest first."""
        own = {self.path / "checkpoints" / f"{name}.ckpt" for name in NAMES}
        others = {path for path in self.path.rglob("*.ckpt") if self.inside(path)} - own
        return sorted(others, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)

    def checkpoint_name(self, name: str) -> str:
        """The name of `checkpoint(name)`: its path in `checkpoints/`, without its ending."""
        if name in NAMES:
            return name
        path = self.checkpoint(name)
        return next(known for known, other in self._named_checkpoints().items() if other == path)

    def _other_checkpoint(self, name: str) -> Path:
        known = self._named_checkpoints()
        place = Path(name).absolute()
        found = [known[name]] if name in known else []
        found = found or [p for p in known.values() if name in (p.stem, p.name)]
        found = found or [p for p in known.values() if p.absolute() == place]
        if len(found) == 1:
            return found[0]
        problem = f"several checkpoints called {name}" if found else f"no checkpoint {name}"
        raise RunError(f"{self.path} has {problem}; it has: {', '.join(known) or 'none'}")

    def _named_checkpoints(self) -> dict[str, Path]:
        paths = {self.inside(path): path for path in sorted(self.path.rglob("*.ckpt"))}
        return {
            name.removeprefix("checkpoints/").removesuffix(".ckpt"): path
            for name, path in paths.items()
            if name
        }

    def inside(self, path: Path) -> str | None:
        """The relative path of a file in this folder; None for one that lies elsewhere."""
        if leads_out(path, self.path) or not path.is_file():
            return None
        return path.resolve().relative_to(self.path.resolve()).as_posix()
