"""Convert uint8 pixels to a model's pixels and back."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from musigma.objectives.likelihoods import Pixels
from musigma.seeding import FIXED_SEED, derive_seed
from musigma.shapes import ImageShape
from workbench.ranges import Finite, Positive
from workbench.text import counted

Means = Finite | Annotated[list[Finite], Field(min_length=1)]
Stds = Positive | Annotated[list[Positive], Field(min_length=1)]
"""One value for all channels, or one per channel."""


class Normalization(ABC):
    """A map, perhaps random, from grey levels 0 … 255 to the model's pixels."""

    pixels: Pixels
    """The range of the model's pixels: `real`, `unit` ([0, 1]) or `binary` ({0, 1})."""

    is_random: ClassVar[bool] = False
    """True if training pixels are drawn anew in every epoch."""

    is_drawn_once: ClassVar[bool] = False
    """True if `prepare` draws the pixels."""

    def prepare(self, images: Tensor, seed: int = FIXED_SEED) -> Tensor:
        """The step done once, when images are read: uint8 → uint8, `[N, C, H, W]`."""
        return images

    @abstractmethod
    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """uint8 → float32, `[B, C, H, W]`; images and generator are on the same device."""

    def to_unit(self, x: Tensor) -> Tensor:
        """The model's pixels → the [0, 1] scale."""
        return x

    def shown(self, x: Tensor) -> Tensor:
        """The model's pixels as a displayable image, clipped to [0, 1]."""
        return self.to_unit(x).clamp(0, 1)

    def log_unit_volume(self) -> float:
        """A pixel's log p on the [0, 1] scale less that on the model's scale, in nats.

        This is the change of variables, averaged over channels.
        """
        return 0.0


@dataclass(frozen=True)
class Standardize(Normalization):
    """(grey / 255 − mean) / std, equal to the bit to torchvision's ToTensor and Normalize."""

    pixels = "real"
    mean: Means
    std: Stds

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        x = images.float().div_(255)
        # Plain numbers, because tensors would have to be copied to the device.
        for channel, mean, std in zip(x.unbind(1), _each(self.mean), _each(self.std), strict=False):
            channel.sub_(mean).div_(std)
        return x

    def to_unit(self, x: Tensor) -> Tensor:
        channels = zip(x.unbind(-3), _each(self.mean), _each(self.std), strict=False)
        return torch.stack([channel * std + mean for channel, mean, std in channels], -3)

    def log_unit_volume(self) -> float:
        """−log std: the [0, 1] scale is narrower by the factor std, and densities higher."""
        stds = self.std if isinstance(self.std, list) else [self.std]
        return -sum(map(math.log, stds)) / len(stds)


class Unit(Normalization):
    """grey / 255."""

    pixels = "unit"

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        return images.float().div_(255)


class Dequantize(Normalization):
    """(grey + u) / 256, u ~ U[0, 1); log p of it bounds that of the grey levels from below.

    Theis, van den Oord and Bethge 2016, section 3.1.
    """

    pixels = "unit"
    is_random = True

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        return images.float().add_(_uniform(images, generator)).div_(256)


class BinarizeDynamic(Normalization):
    """1 with probability grey / 255, drawn anew in every epoch of training.

    Burda, Grosse and Salakhutdinov 2016, section 5.
    """

    pixels = "binary"
    is_random = True

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        return (_uniform(images, generator) * 255 < images).float()


class BinarizeStatic(Normalization):
    """1 with probability grey / 255, drawn once and kept (Larochelle and Murray 2011)."""

    pixels = "binary"
    is_drawn_once = True

    def prepare(self, images: Tensor, seed: int = FIXED_SEED) -> Tensor:
        generator = Generator(images.device).manual_seed(seed)
        return BinarizeDynamic()(images, generator).to(torch.uint8)

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        return images.float()


NormalizationName = Literal[
    "standardize", "unit", "dequantize", "binarize_dynamic", "binarize_static"
]
WITHOUT_SETTINGS: dict[NormalizationName, type[Normalization]] = {
    "unit": Unit,
    "dequantize": Dequantize,
    "binarize_dynamic": BinarizeDynamic,
    "binarize_static": BinarizeStatic,
}


def normalization_called(
    name: NormalizationName, mean: Means | None, std: Stds | None, image_shape: ImageShape
) -> Normalization:
    """The normalisation of that name; `mean` and `std` are for `standardize`.

    Raises:
        ValueError: if `standardize` lacks one of them, or there is not one for each channel.
    """
    for argument, value in (("mean", mean), ("std", std)):
        if isinstance(value, list) and len(value) != image_shape[0]:
            raise ValueError(
                f"{argument} has {counted(len(value), 'number')}, and an image of image_shape "
                f"{list(image_shape)} has {counted(image_shape[0], 'channel')}: give a number for "
                "each"
            )
    if name != "standardize":
        return WITHOUT_SETTINGS[name]()
    if mean is None or std is None:
        raise ValueError(
            "normalization standardize needs the mean and std of the training pixels on the "
            "[0, 1] scale, one number or one per channel; unit needs neither"
        )
    return Standardize(mean, std)


def normalized_by_index(normalization: Normalization, images: Tensor, rows: Tensor) -> Tensor:
    """Normalise uint8 images `[B, C, H, W]`, whose indices in their set are `rows` `[B]`.

    Random pixels are a function of the index: the same on every device, in memory and streamed.
    """
    if not normalization.is_random or not len(images):
        return normalization(images)
    generator = Generator()
    drawn = [
        normalization(image, generator.manual_seed(derive_seed(FIXED_SEED, row)))
        for image, row in zip(images.cpu().unsqueeze(1), rows.tolist(), strict=True)
    ]
    return torch.cat(drawn).to(images.device)


def _each(value: float | list[float]) -> Iterable[float]:
    return value if isinstance(value, list) else repeat(value)


def _uniform(images: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand(images.shape, generator=generator, device=images.device)
