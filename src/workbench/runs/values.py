"""Metrics of single test examples, in `test_values.npz`."""

import io
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from workbench.runs.output import replace_file

FILE = "test_values.npz"

MOST_BYTES = 8_000_000
"""The largest array that is read, unpacked."""


def write_values(folder: Path, values: Mapping[str, np.ndarray]) -> None:
    """Write an array `[N]` for each metric; without any, remove the file of an earlier test."""
    path = folder / FILE
    if not values:
        path.unlink(missing_ok=True)
        return
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **values)
    replace_file(path, packed.getvalue())


def read_values(folder: Path, metric: str) -> np.ndarray | None:
    """The values of a metric, `[N]`; None if there are none that can be read.

    The file may be a stranger's: no code in it is run, and no array over `MOST_BYTES` is unpacked.
    """
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with zipfile.ZipFile(folder / FILE) as archive:
            if archive.getinfo(f"{metric}.npy").file_size > MOST_BYTES:
                return None
            array = np.load(io.BytesIO(archive.read(f"{metric}.npy")), allow_pickle=False)
        if array.ndim == 1 and array.dtype.kind == "f" and np.isfinite(array).all():
            return array.astype(np.float64)
    return None
