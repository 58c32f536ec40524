"""Random numbers as functions of where they are used, so that no generator state is kept."""

import torch
from torch import Tensor

from workbench.seeding import derive_seed, seed_everything, seed_noise

__all__ = [
    "CODES",
    "FIXED_SEED",
    "PIXELS",
    "derive_seed",
    "normal_noise",
    "seed_everything",
    "seed_noise",
]

FIXED_SEED = 0
"""The seed of draws that are the same in all runs: splits, static pixels, noise in evaluation."""

PIXELS, CODES = 1, 2
"""Last parts of two seeds that are equal otherwise, so that their draws are independent."""


def normal_noise(*shape: int, seed: int) -> Tensor:
    """Standard normal float32 noise, drawn on the CPU to be the same for any device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)
