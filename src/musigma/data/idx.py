"""Checks of raw IDX files, the format in which MNIST and its relatives are distributed."""

import math
import struct
from pathlib import Path

from musigma.errors import DataError

# LeCun, Cortes and Burges, "The MNIST database": big-endian header, then one byte a value.
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801
SPLITS = {"train": 60_000, "t10k": 10_000}
SIDE = 28
CLASSES = 10


def image_file(split: str) -> str:
    """The name of the file with the images of `train` or `t10k`."""
    return f"{split}-images-idx3-ubyte"


def label_file(split: str) -> str:
    """The name of the file with the labels of `train` or `t10k`."""
    return f"{split}-labels-idx1-ubyte"


FILES = tuple(name(split) for split in SPLITS for name in (image_file, label_file))


def check_raw_files(folder: Path) -> None:
    """Hold each of the four files against its name: header, size, labels in range.

    Raises:
        DataError: names the first file that is truncated, swapped or damaged.
    """
    for split, count in SPLITS.items():
        _check_file(folder / image_file(split), IMAGES_MAGIC, (count, SIDE, SIDE))
        labels = folder / label_file(split)
        body = _check_file(labels, LABELS_MAGIC, (count,))
        if max(body) >= CLASSES:
            raise _damaged(labels, f"holds the label {max(body)}, and labels are 0 to 9")


def _check_file(path: Path, magic: int, shape: tuple[int, ...]) -> bytes:
    """The bytes after the header, for label files; images are checked by their size."""
    header = struct.pack(f">{1 + len(shape)}I", magic, *shape)
    size = len(header) + math.prod(shape)
    with path.open("rb") as file:
        found = file.read(len(header))
        body = file.read() if magic == LABELS_MAGIC else b""
    if path.stat().st_size < len(header):
        raise _damaged(path, f"has {path.stat().st_size} bytes, not even a header")
    if found != header:
        numbers = struct.unpack(f">{len(header) // 4}I", found)
        raise _damaged(
            path,
            f"begins with magic number {numbers[0]} and shape {numbers[1:]}, and should begin "
            f"with {magic} and {shape}: is it another file under this name?",
        )
    if path.stat().st_size != size:
        raise _damaged(path, f"has {path.stat().st_size:,} bytes, and should have {size:,}")
    return body


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} {what}.\nRemove it and run again to download it anew, or put a good copy there."
    )
