"""A small strided convolutional network."""

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from musigma.models.activations import Activation, activation_layer
from musigma.models.network import ImageShape
from musigma.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class Conv:
    """Strided convolutions that halve the image, one for each entry of `channels`, and back.

    Images `[C, H, W]` → `[channels[-1], H / 2ⁿ, W / 2ⁿ]` → `features` → heads; the decoder is the
    mirror image, with transposed convolutions. Kernels are 4 × 4.

    Args:
        channels: channels after each halving.
        features: width of the fully connected layer between convolutions and heads.
        activation: the name of an activation in `torch.nn`.

    Raises:
        ValueError: if a size is not positive or the activation is unknown; when the encoder is
            made, if the image cannot be halved that often.
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
        flat = math.prod(self._smallest(image_shape))
        head = [nn.Flatten(), nn.Linear(flat, self.features), self._activation()]
        return nn.Sequential(*layers, *head)

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → `[B, *image_shape]`, with nothing after the last convolution."""
        smallest = self._smallest(image_shape)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, self.features),
            self._activation(),
            nn.Linear(self.features, math.prod(smallest)),
            nn.Unflatten(1, smallest),
        ]
        channels = smallest[0]
        for size in (*self.channels[-2::-1], image_shape[0]):
            up = nn.ConvTranspose2d(channels, size, 4, stride=2, padding=1)
            layers += [self._activation(), up]
            channels = size
        return nn.Sequential(*layers)

    def _activation(self) -> nn.Module:
        return activation_layer(self.activation)

    def _smallest(self, image_shape: ImageShape) -> ImageShape:
        _, height, width = image_shape
        factor = 2 ** len(self.channels)
        if height % factor or width % factor:
            raise ValueError(
                f"an image of {height} × {width} cannot be halved {len(self.channels)} times; "
                "give fewer channels"
            )
        return self.channels[-1], height // factor, width // factor
