"""What a network must offer to be the two halves of an autoencoder."""

from typing import Protocol, runtime_checkable

from torch import nn

from musigma.shapes import ImageShape


@runtime_checkable
class Network(Protocol):
    """A recipe for an encoder trunk and a decoder; any `nn.Module`s of these shapes will do."""

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """Images `[B, *image_shape]` → features `[B, F]`, F for the network to choose."""

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → what the likelihood takes, `[B, *image_shape]`."""
