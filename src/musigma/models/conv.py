"""A small strided convolutional network."""

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from musigma.models.network import Activation, activation_layer
from musigma.shapes import ImageShape
from workbench.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class Conv:
    """A convolution of stride 2 for each entry of `channels`, mirrored in the decoder.

    Images `[C, H, W]` → `[channels[-1], ⌊H / 2ⁿ⌋, ⌊W / 2ⁿ⌋]` → `features` → heads, for n entries;
    the decoder has transposed convolutions. Kernels are 4 × 4.

    Args:
        channels: channels after each halving.
        features: width of the fully connected layer between convolutions and heads.
        activation: the name of an activation in `torch.nn`.

    Raises:
        ValueError: when the encoder is built, if the image cannot be halved that often.
    """

    channels: Annotated[Sequence[Count], Field(min_length=1)] = (32, 64)
    features: Count = 256
    activation: Activation = "LeakyReLU"

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """Images `[B, *image_shape]` → features `[B, features]`."""
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for out in self.channels:
            layers += [nn.Conv2d(channels, out, 4, stride=2, padding=1), self._activation()]
            channels = out
        flat = channels * math.prod(self._sizes(image_shape)[-1])
        dense = [nn.Flatten(), nn.Linear(flat, self.features), self._activation()]
        return nn.Sequential(*layers, *dense)

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → `[B, *image_shape]`, with no activation after the last convolution."""
        smallest, *larger = self._sizes(image_shape)[::-1]
        channels = self.channels[-1]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, self.features),
            self._activation(),
            nn.Linear(self.features, channels * math.prod(smallest)),
            nn.Unflatten(1, (channels, *smallest)),
        ]
        for out, size in zip((*self.channels[-2::-1], image_shape[0]), larger, strict=True):
            odd = size[0] % 2, size[1] % 2
            up = nn.ConvTranspose2d(channels, out, 4, stride=2, padding=1, output_padding=odd)
            layers += [self._activation(), up]
            channels = out
        return nn.Sequential(*layers)

    def _activation(self) -> nn.Module:
        return activation_layer(self.activation)

    def _sizes(self, image_shape: ImageShape) -> list[tuple[int, int]]:
        """The height and width of the image, then those after each halving."""
        _, height, width = image_shape
        sizes = [(height >> n, width >> n) for n in range(len(self.channels) + 1)]
        if 0 in sizes[-1]:
            raise ValueError(
                f"an image of {height} × {width} cannot be halved {len(self.channels)} times; "
                "give fewer channels"
            )
        return sizes
