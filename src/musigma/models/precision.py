"""Precision: codes and densities are computed in float32 at least."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, raised to float32 if mixed precision gave it 16 bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """A context without autocast, in which products of float32 tensors are float32."""
    # Autocast does not know the meta device, and torch.export records each context in its program.
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
