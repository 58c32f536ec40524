"""Raw IDX files, the format in which MNIST and its relatives are distributed."""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.errors import DataError

# LeCun, Cortes and Burges, "The MNIST database": big-endian header, then one byte a value.
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801
SIDE = 28
CLASSES = 10

SHAPES = {
    "train-images-idx3-ubyte": (60_000, SIDE, SIDE),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, SIDE, SIDE),
    "t10k-labels-idx1-ubyte": (10_000,),
}
FILES = tuple(SHAPES)

# SHA-256, which takes half of MD5's time here, of the files whose published MD5 are, in this order,
# 6bbc9ace898e44ae57da46a324031adb, a25bea736e30d166cdddb491f175f624,
# 2646ac647ad5339dbf082846283269ea and 27ae3e4e09519cfbb04c329615203637.
# Of FashionMNIST and KMNIST only the digests of the archives are published; see `_differs`.
MNIST_DIGESTS = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
PUBLISHED = {"MNIST": dict(zip(FILES, MNIST_DIGESTS, strict=True))}


def archive_of(path: Path) -> Path:
    """The place of the `.gz` of a raw file."""
    return path.with_name(f"{path.name}.gz")


def check_raw_files(folder: Path, dataset: str = "") -> None:
    """Check each of the four files, or its `.gz`: header, size, labels in range, content.

    A file that has not changed is not read again by the same process.

    Args:
        folder: the place of the files.
        dataset: whose published files they should be.

    Raises:
        DataError: names the first file that is truncated, swapped or damaged.
    """
    for name in FILES:
        path = _present(folder / name)
        if _state(path, dataset) not in _known:
            read_raw(path, dataset)


def read_set(folder: Path, split: str, dataset: str = "") -> tuple[Tensor, Tensor]:
    """Images `[N, 28, 28]` uint8 and labels `[N]` of `train` or `t10k`.

    Raises:
        DataError: as `check_raw_files`.
    """
    arrays = []
    for name in (name for name in FILES if name.startswith(split)):
        data = read_raw(_present(folder / name), dataset)
        body = torch.frombuffer(data, dtype=torch.uint8, offset=len(_header(name)))
        arrays.append(body.reshape(SHAPES[name]))
    images, labels = arrays
    return images, labels.long()


def read_raw(path: Path, dataset: str = "") -> memoryview:
    """The bytes of a raw file, or unpacked from its `.gz`, checked.

    The content of a file that has not changed is checked once.

    Raises:
        DataError: if it is not what its name says.
    """
    name = path.name.removesuffix(".gz")
    header, shape = _header(name), SHAPES[name]
    size = len(header) + math.prod(shape)
    state = _state(path, dataset)
    if path.name == name:
        data = np.fromfile(path, np.uint8).data
    else:
        try:
            with gzip.open(path) as file:
                unpacked = file.read(size + 1)  # not whatever a wrong one unpacks to
                data = memoryview(bytearray(unpacked))
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, f"cannot be unpacked: {error}") from error
    if len(data) < len(header):
        raise _damaged(path, f"has {len(data)} bytes, not even a header")
    if data[: len(header)] != header:
        numbers = struct.unpack(f">{len(header) // 4}I", data[: len(header)])
        magic, *wanted = struct.unpack(f">{len(header) // 4}I", header)
        raise _damaged(
            path,
            f"begins with magic number {numbers[0]} and shape {numbers[1:]}, and should begin "
            f"with {magic} and {tuple(wanted)}: is it another file under this name?",
        )
    if len(data) != size:
        raise _damaged(path, f"has {len(data):,} bytes, and should have {size:,}")
    if len(shape) == 1 and (label := max(data[len(header) :])) >= CLASSES:
        raise _damaged(path, f"holds the label {label}, and labels are 0 to 9")
    if state not in _known and (differs := _differs(path, data, PUBLISHED.get(dataset, {}))):
        raise _damaged(path, differs)
    _known.add(state)
    return data


def _present(path: Path) -> Path:
    """A raw file, or its `.gz` where it is not there and that is."""
    archive = archive_of(path)
    return archive if not path.is_file() and archive.is_file() else path


def _header(name: str) -> bytes:
    shape = SHAPES[name]
    magic = IMAGES_MAGIC if len(shape) == 3 else LABELS_MAGIC
    return struct.pack(f">{1 + len(shape)}I", magic, *shape)


def _differs(path: Path, data: memoryview, published: Mapping[str, str]) -> str:
    """The difference of a file's bytes to the published ones, in words; empty if there is none.

    If no digest is published, the archive beside it, if there is one, ends with a checksum.
    """
    name = path.name.removesuffix(".gz")
    if name in published:
        if hashlib.sha256(data, usedforsecurity=False).hexdigest() != published[name]:
            return "is damaged: its bytes are not those that were published"
    elif path.name == name and archive_of(path).is_file():
        tail = archive_of(path).read_bytes()[-8:]
        if tail != struct.pack("<II", zlib.crc32(data), len(data)):
            return "is not what its .gz beside it holds: one of the two is damaged"
    return ""


_known: set[tuple[Path, str, int, int, int]] = set()
"""The states of files that this process has read and found to be right."""


def _state(path: Path, dataset: str) -> tuple[Path, str, int, int, int]:
    """Another one once the file has changed."""
    now = path.stat()
    return path, dataset, now.st_size, now.st_mtime_ns, now.st_ino


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} {what}.\nRemove it and run again to download it anew, or put a good copy there."
    )
