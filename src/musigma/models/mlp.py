"""The multilayer perceptron, the default network."""

import math
from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import nn

from musigma.models.network import Activation, hidden_layers
from musigma.shapes import ImageShape
from workbench.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class MLP:
    """Fully connected trunks: pixels → `encoder_sizes` → heads, z → `decoder_sizes` → pixels.

    Args:
        encoder_sizes: widths of the encoder's hidden layers, each followed by the activation;
            an empty list makes the encoder linear.
        decoder_sizes: widths of the decoder's hidden layers.
        activation: the name of an activation in `torch.nn`.
    """

    encoder_sizes: Sequence[Count] = (300, 300)
    decoder_sizes: Sequence[Count] = (300,)
    activation: Activation = "LeakyReLU"

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """Images `[B, *image_shape]` → features `[B, encoder_sizes[-1]]`."""
        layers = hidden_layers(math.prod(image_shape), self.encoder_sizes, self.activation)
        return nn.Sequential(nn.Flatten(), *layers)

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → `[B, *image_shape]`, with no activation after the last layer."""
        last_size = (latent_dim, *self.decoder_sizes)[-1]
        return nn.Sequential(
            *hidden_layers(latent_dim, self.decoder_sizes, self.activation),
            nn.Linear(last_size, math.prod(image_shape)),
            nn.Unflatten(1, image_shape),
        )
