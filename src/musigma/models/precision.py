"""Precision: codes and densities are computed in float32 at least."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, raised to float32 where mixed precision made it shorter."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
