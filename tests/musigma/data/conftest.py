"""A stand-in for MNIST's four files: full size, and quick to compress."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from musigma.data import idx

COUNTS = {"train": 60_000, "t10k": 10_000}


@pytest.fixture(scope="session")
def raw_files():
    """File name → bytes, with a different grey level and labels in every split."""
    files = {}
    for split, count in COUNTS.items():
        images = np.full((count, 28, 28), 10 if split == "train" else 20, np.uint8)
        images[:, 0, 0] = np.arange(count) % 256
        labels = (np.arange(count) % 10).astype(np.uint8)
        files[f"{split}-images-idx3-ubyte"] = (
            struct.pack(">4I", 2051, count, 28, 28) + images.tobytes()
        )
        files[f"{split}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, count) + labels.tobytes()
    return files


@pytest.fixture(scope="session")
def archives(raw_files):
    """Name of the .gz file → its bytes."""
    return {f"{name}.gz": gzip.compress(data, 1) for name, data in raw_files.items()}


@pytest.fixture(scope="session")
def resources(archives):
    """The name and md5 of each archive, as torchvision lists them."""
    return [(name, hashlib.md5(data).hexdigest()) for name, data in archives.items()]


@pytest.fixture
def published(raw_files, monkeypatch):
    """The digests of the stand-in, installed in place of MNIST's."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in raw_files.items()}
    monkeypatch.setitem(idx.PUBLISHED, "MNIST", digests)
    return digests


@pytest.fixture
def raw_folder(raw_files, published, tmp_path):
    """A folder `MNIST/raw` with the four files."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, data in raw_files.items():
        (folder / name).write_bytes(data)
    return folder
