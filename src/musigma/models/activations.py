"""The activations that a network can be given by name."""

from typing import Literal

from torch import nn

Activation = Literal["LeakyReLU", "ReLU", "ELU", "GELU", "SiLU", "Tanh", "Softplus"]


def activation_layer(name: Activation) -> nn.Module:
    """The layer of that name in `torch.nn`, with torch's own settings."""
    layer: nn.Module = getattr(nn, name)()
    return layer
