"""The folder of a run."""

import json
import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from workbench.errors import RunError
from workbench.project import the_project
from workbench.runs.records import check_metrics, damaged, finite, one_line

LONGEST_NAME = 120
"""In bytes, as file systems count."""

# libyaml's, ten times as fast, where PyYAML was built with it.
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
UNKNOWN = "0.1.0 or older"
"""The version of a run that does not say."""

MOST_BYTES = 2_000_000
"""Of a file in YAML."""

MOST_ENTRIES = 100_000
"""Of a config, each counted as often as aliases repeat it."""

BEGUN = {".lock", "checkpoints", "config.yaml.partial", "metrics.json", "failure.txt"}
"""What may be in a run's folder that has no config yet."""

DEEPEST = 50
"""Level of a config's entries."""

WENT_ON = "\nwent on in another environment:\n\n"


class RunFolder:
    """The files of one run, each with one writer and one reader.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock", thread_local=False)
        self._found = set(os.listdir(path)) if path.is_dir() else set()

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunFolder":
        """Make a folder of that name in `parent`, or `name_2` and so on where it is taken.

        `mkdir` decides which of two processes gets a name, so names never collide.

        Raises:
            RunError: if the folder cannot be made.
        """
        name = name.replace("/", "_").encode()[:LONGEST_NAME].decode(errors="ignore")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = parent / (name if number == 1 else f"{name}_{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    number += 1
                    continue
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

    def claim(self) -> None:
        """Keep other processes from writing here, until `release` or this process's end.

        Raises:
            RunError: if another process does, or nobody can.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise RunError(
                f"{self.path} belongs to a run that is still going.\n"
                "Wait for it, or stop it first: Ctrl-C or SIGTERM lets it save where it is."
            ) from None
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error}") from error

    def release(self) -> None:
        """Let others write here."""
        self._lock.release()

    def discard(self) -> None:
        """Remove the folder of a run that has not begun; what was found in it stays."""
        self.release()
        for entry in [*self.path.iterdir()]:
            if entry.name not in self._found:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        with suppress(OSError):
            self.path.rmdir()

    def was_begun(self) -> bool:
        """Whether a run has written here; of one that joins it, whether that goes on."""
        return any((self.path / "checkpoints").iterdir()) or any(self.path.glob("events*"))

    def checkpoint(self, name: str) -> Path:
        """`best`, `last`, or `previous`: the one that was last before.

        The best of a run with Lightning's own ModelCheckpoint is where `metrics.json` says.
        """
        path = self.path / "checkpoints" / f"{name}.ckpt"
        if name == "best" and not path.exists():
            try:
                known = self.read_metrics().get("best")
            except RunError:
                return path
            return next((p for p in self.other_checkpoints() if self.inside(p) == known), path)
        return path

    def other_checkpoints(self) -> list[Path]:
        """Those in the folder that have none of these names, newest first."""
        own = {self.path / "checkpoints" / f"{name}.ckpt" for name in ("best", "last", "previous")}
        others = {path for path in self.path.rglob("*.ckpt") if self.inside(path)} - own
        return sorted(others, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)

    def inside(self, path: Path) -> str | None:
        """The relative path of a file in this folder; None for one that lies elsewhere."""
        if leads_out(path, self.path) or not path.is_file():
            return None
        return path.resolve().relative_to(self.path.resolve()).as_posix()

    def write_config(self, config: dict[str, Any], overrides: list[str]) -> None:
        """`config.yaml`, resolved and plain, with the version that wrote it; `overrides.yaml`."""
        config = {"written_by": the_project().version, **config}
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        self._write("overrides.yaml", yaml.safe_dump(overrides, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """The config that the run was made with."""
        return {key: value for key, value in self._read_config().items() if key != "written_by"}

    def written_by(self) -> str:
        """The version of the project that made the run."""
        return self._read_config().get("written_by", UNKNOWN)

    def _read_config(self) -> dict[str, Any]:
        path = self.path / "config.yaml"
        if path.stat().st_size > MOST_BYTES:
            raise RunError(f"{path} is not a run's config: it has over {MOST_BYTES:,} bytes")
        try:
            config = yaml.load(path.read_text("utf-8"), Loader=FAST_LOADER)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read as YAML: {one_line(error)}") from error
        if not isinstance(config, dict):
            raise RunError(f"{path} holds no config: is it damaged?")
        if _holds_more(config):
            raise RunError(
                f"{path} is not a run's config: it has over {MOST_ENTRIES:,} entries, or some that "
                f"are over {DEEPEST} levels deep"
            )
        return config

    def write_environment(self, text: str) -> None:
        """`environment.txt`; another one than before goes below it."""
        earlier = self.read_environment()
        if not earlier.endswith(text):
            self._write("environment.txt", f"{earlier}{WENT_ON}{text}" if earlier else text)

    def write_metrics(self, **entries: Any) -> None:
        """Set entries of `metrics.json`, or remove them with None; the others stay.

        What is not a finite number was not measured and is left out.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        metrics = finite({**self.read_metrics(), **entries, "written": now})
        text = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
        try:
            self._write("metrics.json", text)
        except OSError:
            if not self._fits_in_place("metrics.json", text):
                raise

    def read_overrides(self) -> list[str]:
        """What `overrides.yaml` holds; nothing where it is not there."""
        path = self.path / "overrides.yaml"
        try:
            if path.exists() and path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it has over {MOST_BYTES:,} bytes")
            found: Any = yaml.safe_load(path.read_text("utf-8")) if path.exists() else []
            if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
                raise ValueError("it is not a list of texts")
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise damaged(path, error) from error
        return found

    def read_environment(self) -> str:
        """What `environment.txt` holds; nothing where it is not there."""
        path = self.path / "environment.txt"
        try:
            return path.read_text("utf-8") if path.exists() else ""
        except (OSError, ValueError) as error:
            raise damaged(path, error) from error

    def check_records(self) -> None:
        """Read everything that is added to when the run goes on.

        Raises:
            RunError: if one of them is damaged, or a folder has the name of a file.
        """
        checkpoints = (
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
            "checkpoints/previous.ckpt",
        )
        for path in map(self.path.joinpath, (*BEGUN, "train.log", "hparams.yaml", *checkpoints)):
            if path.is_dir() and path.name != "checkpoints":
                raise RunError(f"{path} is a folder, and a run keeps a file there: remove it")
        check_metrics(self.path / "metrics.json", self.read_metrics())
        self.read_overrides()
        self.read_environment()

    def write_failure(self, traceback: str) -> None:
        """`failure.txt`."""
        self._write("failure.txt", traceback)

    def remove_failure(self) -> None:
        """Forget that the run failed before."""
        (self.path / "failure.txt").unlink(missing_ok=True)

    def is_claimed(self) -> bool:
        """Whether a process is writing here."""
        try:
            self.claim()
        except RunError:
            return True
        self.release()
        return False

    def read_metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; nothing where it is not there yet."""
        path = self.path / "metrics.json"
        try:
            metrics: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
            if not isinstance(metrics, dict):
                raise ValueError(f"it holds a {type(metrics).__name__}")
        except (OSError, ValueError, RecursionError) as error:
            raise damaged(path, error) from error
        return metrics

    def _fits_in_place(self, name: str, text: str) -> bool:
        """Overwrite a file in the room that it has: on a full disk there is no other."""
        path = self.path / name
        if not path.exists() or len(text.encode()) > path.stat().st_blocks * 512:
            return False
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()
        return True

    def _write(self, name: str, text: str) -> None:
        """Beside its place first, so that a file of this name is always whole."""
        partial = self.path / f"{name}.partial"
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path / name)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def _holds_more(node: Any) -> bool:
    """Whether a config has more entries than any run's, or deeper ones; one that holds itself."""
    left, seen = [(node, 0)], 0
    while left:
        node, depth = left.pop()
        seen += 1
        inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        left += [(entry, depth + 1) for entry in inside]
        if depth > DEEPEST or seen + len(left) > MOST_ENTRIES:
            return True
    return False


def check_inside(folder: Path, root: Path) -> None:
    """Check that all of a run folder is in `root`, a folder above it or the run folder itself.

    wandb links its folder in there to logs of its own elsewhere, and replaces such links before
    it writes; nothing here reads them.

    Raises:
        RunError: if a link leads out, or something is neither a file nor a folder.
    """
    for file in (folder, *folder.rglob("*")):
        if folder / "wandb" in file.parents:
            continue
        if file.is_symlink() and leads_out(file, root):
            left = "the run folder" if root == folder else root
            raise RunError(
                f"{file} is a link out of {left}, which is not followed: put there what it points "
                "to, or remove it"
            )
        if is_special(file):
            raise RunError(f"{file} is neither a file nor a folder: remove it")


def check_own(path: Path, root: Path | None = None) -> None:
    """Check that a run may write into a folder: it is not there, empty, or has a run's files.

    Args:
        path: the folder.
        root: the folder above it that it may not lead out of, if there is one.

    Raises:
        RunError: if not.
    """
    if root and os.path.lexists(path):
        check_inside(path, root)
    if not path.exists() or (path / "config.yaml").exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is not a folder: remove it")
    if others := set(os.listdir(path)) - BEGUN:
        raise RunError(
            f"{path} holds other files, such as {min(others)}: a run needs a folder of its own; "
            "name one that is not there yet"
        )


def is_special(path: Path) -> bool:
    """Whether what is there is a pipe, a socket or a device, at which reading may never end."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def leads_out(path: Path, root: Path) -> bool:
    """Whether a path that is somewhere below `root` is, through a link, elsewhere or nowhere."""
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True
