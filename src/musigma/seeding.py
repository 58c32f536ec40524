"""Random numbers as functions of where they are used, so that nothing needs to be remembered."""

import random

import numpy as np
import torch
from torch import Tensor

FIXED_SEED = 0
"""The seed of draws that all runs share: images held out, static pixels, noise in evaluation."""

PIXELS, CODES = 1, 2
"""Last parts of the seeds of two draws at one place, which from one seed would be dependent."""

LARGEST_TABLE = 2**26
"""Numbers of noise that are kept; of more, those of each image are drawn when it comes."""


def derive_seed(*parts: int) -> int:
    """A 64-bit seed that depends on all `parts`; nearby parts give unrelated seeds.

    Zeros at the end change nothing.

    Raises:
        ValueError: if a part is negative.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def seed_noise(device: torch.device, seed: int) -> None:
    """Seed the default generator of `device` and no other.

    `torch.manual_seed` would seed every kind of device and take 100 times as long, and this
    happens once a training step.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    elif device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def seed_everything(seed: int) -> None:
    """Seed what data sets and their transforms draw from: torch's, NumPy's and Python's own."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (others draw from it)
    random.seed(seed)


def normal_noise(*shape: int, seed: int) -> Tensor:
    """Standard normal float32 noise on the CPU, the same whatever device it is for."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


class NoiseByPlace:
    """Noise of images as a function of their places in a data set, kept for its next batch."""

    def __init__(self) -> None:
        self._table = torch.empty(0)

    def __call__(self, rows: Tensor, samples: int, count: int, size: int) -> Tensor:
        """`[K, B, d]` for the images at `rows`, `[B]`, of `count` images, on the device of both."""
        shape = (samples, count, size)
        if samples * count * size > LARGEST_TABLE:
            seeds = [derive_seed(FIXED_SEED, row, CODES) for row in rows.tolist()]
            drawn = [normal_noise(samples, size, seed=seed) for seed in seeds]
            return torch.stack(drawn, 1).to(rows.device)
        if self._table.shape != shape or self._table.device != rows.device:
            self._table = normal_noise(*shape, seed=FIXED_SEED).to(rows.device)
        return self._table[:, rows]
