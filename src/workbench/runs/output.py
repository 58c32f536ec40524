"""Writing files whole, and checks that a command can write its results before it computes them."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.errors import RunError

ELSEWHERE = "Choose another place with output=..."


def output_folder(output: str | None, own: Path, names: Sequence[str]) -> Path:
    """The folder for a command's results, in which files of these names can be written.

    Args:
        output: the folder that the user asked for, if any; it need not exist yet.
        own: the folder otherwise.
        names: the names of the files, with their folders.

    Raises:
        RunError: if they cannot be written there, or `output` is in another run's folder.
    """
    folder = Path(output) if output else own
    check_writable([folder / name for name in names])
    if output:
        check_no_other_run(folder, own)
    return folder


def check_no_other_run(path: Path, own: Path) -> None:
    """Raise a RunError if a path is in the folder of a run, unless `own` is in there too."""
    path, own = path.resolve(), own.resolve()
    for place in (path, *path.parents):
        is_run = (place / "config.yaml").exists() and (place / "checkpoints").exists()
        if is_run and not own.is_relative_to(place):
            raise RunError(f"{place} is the folder of another run.\n{ELSEWHERE}")


def check_writable(paths: Sequence[Path], advice: str = ELSEWHERE) -> None:
    """Raise a RunError unless all these files can be written; no file is left behind."""
    for path in paths:
        place = path
        try:
            if path.is_dir():
                raise IsADirectoryError("it is a folder")
            place = nearest_folder(path)
            if place.is_file():
                raise NotADirectoryError("it is not a folder")
            with tempfile.TemporaryFile(dir=place):
                pass
        except (OSError, ValueError) as error:  # a ValueError for impossible names
            fault = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise RunError(f"{place} cannot be written: {fault}.\n{advice}") from error


def nearest_folder(path: Path) -> Path:
    """The nearest path above `path` that exists; it may be a file, if a folder is in the way."""
    return next(place for place in path.absolute().parents if os.path.lexists(place))


def replace_file(path: Path, content: bytes) -> None:
    """Write another file and rename it, so that a file of this name is always complete."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def written_together(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, whose files are moved into `folder` together at the end.

    Files of the same names are replaced, each by a complete one. If anything fails before all are
    written, nothing changes and no new folder is left.

    Raises:
        RunError: if the files cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial_", dir=folder) as temporary:
            yield Path(temporary)
            written = sorted(path for path in Path(temporary).rglob("*") if path.is_file())
            for path in written:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            for path in written:
                target = folder / path.relative_to(temporary)
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error}.\n{ELSEWHERE}") from error
    finally:
        with suppress(OSError):  # folders that hold something
            for place in made:
                place.rmdir()
