"""Where the results of a command go: proved to be writable before they are computed."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.errors import RunError

ELSEWHERE = "Choose another place with output=..."


def output_folder(output: str | None, own: Path, names: Sequence[str]) -> Path:
    """The folder that files of these names can be written into.

    Args:
        output: the folder that was asked for; what is missing of it will be made.
        own: where the results belong if none was.
        names: of the files, which may be in folders of their own.

    Raises:
        RunError: if they cannot be written there, or `output` is another run's folder.
    """
    folder = Path(output) if output else own
    check_writable([folder / name for name in names])
    is_run = (folder / "config.yaml").exists() and (folder / "checkpoints").exists()
    if output and is_run and folder.resolve() != own.resolve():
        raise RunError(f"output={output} is a run folder, whose files are its own.\n{ELSEWHERE}")
    return folder


def check_writable(paths: Sequence[Path], advice: str = ELSEWHERE) -> None:
    """Raise a RunError unless all these files can be written; nothing is left behind."""
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
        except (OSError, ValueError) as error:  # a ValueError for names that cannot be
            raise RunError(f"{place} cannot be written: {error}.\n{advice}") from error


def nearest_folder(path: Path) -> Path:
    """The first of the folders above a path that is there, or what is there in its stead."""
    return next(place for place in path.absolute().parents if os.path.lexists(place))


@contextmanager
def written_together(folder: Path) -> Iterator[Path]:
    """Within it files are written into the folder that it gives; at its end they are in `folder`.

    Files of the same names there are replaced, each by a whole one. Where anything fails before
    all are written, none is, and no folder is left that was not there.

    Raises:
        RunError: if they cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The name is this process's own, so that two at once do not write into one another's.
        with tempfile.TemporaryDirectory(prefix=".partial_", dir=folder) as beside:
            yield Path(beside)
            written = sorted(path for path in Path(beside).rglob("*") if path.is_file())
            for path in written:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            for path in written:
                target = folder / path.relative_to(beside)
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error}.\n{ELSEWHERE}") from error
    finally:
        with suppress(OSError):  # those that hold something
            for place in made:
                place.rmdir()
