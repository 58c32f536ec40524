"""Precision: codes and densities are computed in float32 at least."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, raised to float32 where mixed precision made it shorter."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Within it products of float32 stay float32, whatever mixed precision asks for."""
    # Autocast knows no meta device, and in an exported program a context is a thing of its own.
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
