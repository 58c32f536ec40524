"""Networks as recipes for the two halves of an autoencoder, and the activations in them."""

from typing import Literal, Protocol, runtime_checkable

from torch import nn

from musigma.shapes import ImageShape

Activation = Literal["LeakyReLU", "ReLU", "ELU", "GELU", "SiLU", "Tanh", "Softplus"]
"""The name of a layer in `torch.nn`."""


@runtime_checkable
class Network(Protocol):
    """A recipe for an encoder trunk and a decoder; any `nn.Module`s of these shapes will do."""

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """Images `[B, *image_shape]` → features `[B, F]`, F for the network to choose."""

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → the likelihood's parameters, `[B, *image_shape]`."""


def activation_layer(name: Activation) -> nn.Module:
    """The layer of that name in `torch.nn`, with torch's own settings."""
    layer: nn.Module = getattr(nn, name)()
    return layer
