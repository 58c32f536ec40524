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
    """Strided convolutions that halve the image, one for each entry of `channels`, and back.

    Images `[C, H, W]` → `[channels[-1], ⌊H / 2ⁿ⌋, ⌊W / 2ⁿ⌋]` → `features` → heads; the decoder is
    the mirror image, with transposed convolutions. Kernels are 4 × 4.

    Args:
        channels: channels after each halving.
        features: width of the fully connected layer between convolutions and heads.
        activation: the name of an activation in `torch.nn`.

    Raises:
        ValueError: when the encoder is made, if the image cannot be halved that often.
    """

    channels: Annotated[Sequence[Count], Field(min_length=1)] = (32, 64)
    features: Count = 256
    activation: Activation = "LeakyReLU"

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """Images `[B, *image_shape]` → features `[B, features]`."""
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for size in self.channels:
            layers += [nn.Conv2d(channels, size, 4, stride=2, padding=1), self._activation()]
            channels = size
        flat = channels * math.prod(self._sizes(image_shape)[-1])
        head = [nn.Flatten(), nn.Linear(flat, self.features), self._activation()]
        return nn.Sequential(*layers, *head)

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → `[B, *image_shape]`, with nothing after the last convolution."""
        smallest, *larger = self._sizes(image_shape)[::-1]
        channels = self.channels[-1]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, self.features),
            self._activation(),
            nn.Linear(self.features, channels * math.prod(smallest)),
            nn.Unflatten(1, (channels, *smallest)),
        ]
        for size, after in zip((*self.channels[-2::-1], image_shape[0]), larger, strict=True):
            odd = after[0] % 2, after[1] % 2
            up = nn.ConvTranspose2d(channels, size, 4, stride=2, padding=1, output_padding=odd)
            layers += [self._activation(), up]
            channels = size
        return nn.Sequential(*layers)

    def _activation(self) -> nn.Module:
        return activation_layer(self.activation)

    def _sizes(self, image_shape: ImageShape) -> list[tuple[int, int]]:
        """Height and width of the image, and after each halving."""
        _, height, width = image_shape
        sizes = [(height >> n, width >> n) for n in range(len(self.channels) + 1)]
        if 0 in sizes[-1]:
            raise ValueError(
                f"an image of {height} × {width} cannot be halved {len(self.channels)} times; "
                "give fewer channels"
            )
        return sizes
