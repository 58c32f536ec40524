"""Seeds derived from where they are used, and the seeding of generators."""

import random

import numpy as np
import torch


def derive_seed(*parts: int) -> int:
    """A 64-bit seed that depends on all `parts`; nearby parts give unrelated seeds.

    Trailing zeros change nothing.

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
    """Seed the generators that data sets and transforms use: torch's, NumPy's and Python's."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (data sets of users draw from it)
    random.seed(seed)
