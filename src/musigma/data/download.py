"""Download raw files through torchvision, each completely or not at all."""

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from torchvision.datasets import MNIST
from torchvision.datasets.utils import download_url

from musigma.data.access import folder_exists
from musigma.data.idx import FILES, archive_of, read_raw
from workbench.errors import DataError

SOCKET_TIMEOUT = 20.0
"""Seconds to wait for a server's answer."""


class NoFilesError(DataError):
    """Missing files that cannot be downloaded."""


def missing_files(folder: Path) -> list[str]:
    """The names of the raw files that are not in `folder`, `<root>/<data set>/raw`.

    Raises:
        OSError, ValueError: if that or a folder above it cannot be read.
    """
    if not all(map(folder_exists, (folder.parents[1], folder.parent, folder))):
        return list(FILES)
    return [name for name in FILES if not (folder / name).is_file()]


def download(dataset: type[MNIST], root: Path, mirrors: Sequence[str] | None) -> None:
    """Download the missing raw files into `root/<name of the data set>/raw`.

    torchvision downloads missing archives and verifies their checksums; the content of an archive
    is checked before it is written as a raw file. Both are moved into place once complete, so an
    interruption leaves no partial file. A lock lets only one process download.

    Args:
        dataset: the torchvision class.
        root: the folder of all data sets.
        mirrors: URLs to use instead of torchvision's own, each ending in `/`.

    Raises:
        NoFilesError: if no mirror delivers valid files, or the folder cannot be written.
        DataError: if an existing archive is damaged.
    """
    raw = root / dataset.__name__ / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".download.lock"):
            for name in missing_files(raw):
                _unpack(raw / name, dataset, mirrors or dataset.mirrors)
    except OSError as error:
        raise NoFilesError(
            f"Cannot write the data set to {raw}: {error}.\n"
            "Choose another folder with data.root=... or the environment variable DATA_DIR."
        ) from error


def _unpack(path: Path, dataset: type[MNIST], mirrors: Sequence[str]) -> None:
    """Write a raw file from its archive, which is downloaded if it is missing."""
    archive = archive_of(path)
    with tempfile.TemporaryDirectory(dir=path.parent.parent, prefix=".download-") as name:
        folder = Path(name)
        if not archive.is_file():
            _download_archive(folder / archive.name, dataset, mirrors)
            (folder / archive.name).replace(archive)
        (folder / path.name).write_bytes(read_raw(archive, dataset.__name__))
        (folder / path.name).replace(path)


def _download_archive(archive: Path, dataset: type[MNIST], mirrors: Sequence[str]) -> None:
    failures = []
    for mirror in mirrors:
        try:
            with _socket_timeout(SOCKET_TIMEOUT):
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
