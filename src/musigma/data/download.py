"""Fetching raw files through torchvision, whole or not at all."""

import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from torchvision.datasets import MNIST

from musigma.data.idx import FILES, check_raw_files
from musigma.errors import DataError

SECONDS_WITHOUT_AN_ANSWER = 20.0


def missing_files(folder: Path) -> list[str]:
    """The names of the raw files that are not in `folder`."""
    return [name for name in FILES if not (folder / name).is_file()]


def download(dataset: type[MNIST], root: Path, mirrors: Sequence[str] | None = None) -> None:
    """Put the raw files that are missing into `root/<name of the data set>/raw`.

    torchvision fetches and unpacks them into a folder of their own, against its checksums; they
    are checked again and then moved into place, so an interrupted download leaves nothing that
    looks like data. A lock makes a second process wait and find the files there.

    Args:
        dataset: the torchvision class.
        root: the folder of all data sets.
        mirrors: addresses that take the place of torchvision's own, each ending in `/`.

    Raises:
        DataError: if no mirror gives good files, or the folder cannot be written.
    """
    raw = root / dataset.__name__ / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".download.lock"):
            if missing_files(raw):
                _download_into(raw, dataset, mirrors)
    except OSError as error:
        raise DataError(
            f"Cannot write the data set to {raw}: {error}.\n"
            "Choose another folder with data.root=... or the environment variable DATA_DIR."
        ) from error


def _download_into(raw: Path, dataset: type[MNIST], mirrors: Sequence[str] | None) -> None:
    with tempfile.TemporaryDirectory(dir=raw.parent, prefix=".download-") as folder:
        fetched = Path(folder) / dataset.__name__ / "raw"
        fetched.mkdir(parents=True)
        for archive in raw.glob("*.gz"):
            shutil.copy(archive, fetched)
        failures = []
        # One at a time: of several, older torchvisions give up at the first that sends bad files.
        for mirror in mirrors or dataset.mirrors:
            source = type(dataset.__name__, (dataset,), {"mirrors": [mirror]})
            try:
                with _socket_timeout(SECONDS_WITHOUT_AN_ANSWER):
                    source(folder, download=True)
                break
            except (RuntimeError, OSError, EOFError) as error:
                reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
                failures.append(f"{mirror}: {reason}")
        else:
            reasons = "\n".join(failures)
            raise DataError(f"The download of {dataset.__name__} failed:\n{reasons}")
        check_raw_files(fetched)
        for name in missing_files(raw):
            (fetched / name).replace(raw / name)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
