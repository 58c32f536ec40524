"""Fetching raw files through torchvision, each whole or not at all."""

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from torchvision.datasets import MNIST
from torchvision.datasets.utils import download_url

from musigma.data.access import is_there
from musigma.data.idx import FILES, archive_of, read_raw
from workbench.errors import DataError

SECONDS_WITHOUT_AN_ANSWER = 20.0


class NoFilesError(DataError):
    """Files that are not here and cannot be downloaded."""


def missing_files(folder: Path) -> list[str]:
    """The names of the raw files that are not in `folder`, `<root>/<data set>/raw`.

    Raises:
        OSError, ValueError: if that or a folder above it cannot be looked into.
    """
    if not all(map(is_there, (folder.parents[1], folder.parent, folder))):
        return list(FILES)
    return [name for name in FILES if not (folder / name).is_file()]


def download(dataset: type[MNIST], root: Path, mirrors: Sequence[str] | None = None) -> None:
    """Put the raw files that are missing into `root/<name of the data set>/raw`.

    torchvision fetches the archives that are not there, against its checksums; what an archive
    holds is checked before it gets the name of a raw file. Both are moved into place when they are
    whole, so an interruption leaves nothing that looks like data. A lock makes a second process
    wait and find the files there.

    Args:
        dataset: the torchvision class.
        root: the folder of all data sets.
        mirrors: addresses that take the place of torchvision's own, each ending in `/`.

    Raises:
        NoFilesError: if no mirror gives good files, or the folder cannot be written.
        DataError: if an archive that is there is damaged.
    """
    raw = root / dataset.__name__ / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".download.lock"):
            for name in missing_files(raw):
                _complete(raw / name, dataset, mirrors or dataset.mirrors)
    except OSError as error:
        raise NoFilesError(
            f"Cannot write the data set to {raw}: {error}.\n"
            "Choose another folder with data.root=... or the environment variable DATA_DIR."
        ) from error


def _complete(path: Path, dataset: type[MNIST], mirrors: Sequence[str]) -> None:
    """Make a raw file of its archive, which is fetched if it is not there."""
    archive = archive_of(path)
    with tempfile.TemporaryDirectory(dir=path.parent.parent, prefix=".download-") as name:
        folder = Path(name)
        if not archive.is_file():
            _fetch(folder / archive.name, dataset, mirrors)
            (folder / archive.name).replace(archive)
        (folder / path.name).write_bytes(read_raw(archive, dataset.__name__))
        (folder / path.name).replace(path)


def _fetch(archive: Path, dataset: type[MNIST], mirrors: Sequence[str]) -> None:
    failures = []
    for mirror in mirrors:
        try:
            with _socket_timeout(SECONDS_WITHOUT_AN_ANSWER):
                md5 = dict(dataset.resources)[archive.name]
                download_url(f"{mirror}{archive.name}", str(archive.parent), archive.name, md5)
            return
        except (RuntimeError, OSError, EOFError) as error:
            reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
            failures.append(f"{mirror}: {reason}")
    reasons = "\n".join(failures)
    raise NoFilesError(f"The download of {dataset.__name__} failed:\n{reasons}")


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
