"""Random numbers as functions of where they are used, so that nothing needs to be remembered."""

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
"""The seed of draws that all runs share: images held out, static pixels, noise in evaluation."""

PIXELS, CODES = 1, 2
"""Last parts of the seeds of two draws at one place, which from one seed would be dependent."""


def normal_noise(*shape: int, seed: int) -> Tensor:
    """Standard normal float32 noise on the CPU, the same whatever device it is for."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)
