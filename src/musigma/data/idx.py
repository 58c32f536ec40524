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

# SHA-256, which is twice as fast as MD5 here, of the files whose published MD5 are, in this order,
# 6bbc9ace898e44ae57da46a324031adb, a25bea736e30d166cdddb491f175f624,
# 2646ac647ad5339dbf082846283269ea and 27ae3e4e09519cfbb04c329615203637.
# For FashionMNIST and KMNIST only the digests of the archives are published; see `_difference`.
MNIST_DIGESTS = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
PUBLISHED = {"MNIST": dict(zip(FILES, MNIST_DIGESTS, strict=True))}


def archive_of(path: Path) -> Path:
    """The path of a raw file's `.gz`."""
    return path.with_name(f"{path.name}.gz")


def check_raw_files(folder: Path, dataset: str = "") -> None:
    """Check each of the four files, or its `.gz`: header, size, labels in range, content.

    They are compared with the published digests of `dataset`. A file that has not changed is not
    read again by the same process.

    Raises:
        DataError: names the first file that is truncated, swapped or damaged.
    """
    for name in FILES:
        path = _raw_or_archive(folder / name)
        if _fingerprint(path, dataset) not in _verified:
            read_raw(path, dataset)


def read_set(folder: Path, split: str, dataset: str) -> tuple[Tensor, Tensor]:
    """Images `[N, 28, 28]` uint8 and labels `[N]` of `train` or `t10k`.

    Raises:
        DataError: as for `check_raw_files`.
    """
    arrays = []
    for name in (name for name in FILES if name.startswith(split)):
        data = read_raw(_raw_or_archive(folder / name), dataset)
        body = torch.frombuffer(data, dtype=torch.uint8, offset=len(_header(name)))
        arrays.append(body.reshape(SHAPES[name]))
    images, labels = arrays
    return images, labels.long()


def read_raw(path: Path, dataset: str) -> memoryview:
    """The checked bytes of a raw file or its `.gz`; digests of unchanged files are checked once.

    Raises:
        DataError: if the content does not match the file's name.
    """
    name = path.name.removesuffix(".gz")
    header, shape = _header(name), SHAPES[name]
    size = len(header) + math.prod(shape)
    fingerprint = _fingerprint(path, dataset)
    if path.name == name:
        data = np.fromfile(path, np.uint8).data
    else:
        try:
            with gzip.open(path) as file:
                # No more than needed, however much a wrong file would unpack to.
                data = memoryview(bytearray(file.read(size + 1)))
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, f"cannot be unpacked: {error}") from error
    if len(data) < len(header):
        raise _damaged(path, f"has {len(data)} bytes, less than its header")
    if data[: len(header)] != header:
        numbers = struct.unpack(f">{len(header) // 4}I", data[: len(header)])
        magic, *expected = struct.unpack(f">{len(header) // 4}I", header)
        raise _damaged(
            path,
            f"begins with magic number {numbers[0]} and shape {numbers[1:]}, and should begin "
            f"with {magic} and {tuple(expected)}: is it another file under this name?",
        )
    if len(data) != size:
        raise _damaged(path, f"has {len(data):,} bytes, and should have {size:,}")
    if len(shape) == 1 and (label := max(data[len(header) :])) >= CLASSES:
        raise _damaged(path, f"holds the label {label}, and labels are 0 to 9")
    digests = PUBLISHED.get(dataset, {})
    if fingerprint not in _verified and (difference := _difference(path, data, digests)):
        raise _damaged(path, difference)
    _verified.add(fingerprint)
    return data


def _raw_or_archive(path: Path) -> Path:
    """A raw file, or its `.gz` if only that exists."""
    archive = archive_of(path)
    return archive if not path.is_file() and archive.is_file() else path


def _header(name: str) -> bytes:
    shape = SHAPES[name]
    magic = IMAGES_MAGIC if len(shape) == 3 else LABELS_MAGIC
    return struct.pack(f">{1 + len(shape)}I", magic, *shape)


def _difference(path: Path, data: memoryview, published: Mapping[str, str]) -> str:
    """How a file's bytes differ from the published ones, in words; empty if they do not.

    Without a published digest they are compared with the checksum of an archive beside the file.
    """
    name = path.name.removesuffix(".gz")
    if name in published:
        if hashlib.sha256(data, usedforsecurity=False).hexdigest() != published[name]:
            return "is damaged: its content differs from the published file"
    elif path.name == name and archive_of(path).is_file():
        tail = archive_of(path).read_bytes()[-8:]
        if tail != struct.pack("<II", zlib.crc32(data), len(data)):
            return "differs from the .gz beside it: one of the two is damaged"
    return ""


_verified: set[tuple[Path, str, int, int, int]] = set()
"""Fingerprints of files whose content this process has checked."""


def _fingerprint(path: Path, dataset: str) -> tuple[Path, str, int, int, int]:
    """A value that changes when the file does."""
    stat = path.stat()
    return path, dataset, stat.st_size, stat.st_mtime_ns, stat.st_ino


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} {what}.\nRemove it and run again to download it anew, or put an intact copy there."
    )
