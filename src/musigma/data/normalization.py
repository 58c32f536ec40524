"""From uint8 pixels to the numbers a model sees, and back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

Pixels = Literal["real", "unit"]


class Normalization(ABC):
    """A fixed map from grey levels 0 … 255 to the model's pixels."""

    pixels: ClassVar[Pixels]
    """What the pixels are afterwards: any real number, or grey levels in [0, 1]."""

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """uint8 `[B, C, H, W]` → float32 `[B, C, H, W]`."""

    @abstractmethod
    def to_unit(self, x: Tensor) -> Tensor:
        """The model's pixels → the [0, 1] scale, for looking at."""


@dataclass(frozen=True)
class Standardize(Normalization):
    """(grey / 255 − mean) / std, to the bit what torchvision's ToTensor and Normalize give."""

    pixels = "real"
    mean: float
    std: float

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 → float32 with about zero mean and unit variance."""
        return images.float().div_(255).sub_(self.mean).div_(self.std)

    def to_unit(self, x: Tensor) -> Tensor:
        """X · std + mean."""
        return x * self.std + self.mean


@dataclass(frozen=True)
class Unit(Normalization):
    """grey / 255."""

    pixels = "unit"

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 → float32 in [0, 1]."""
        return images.float().div_(255)

    def to_unit(self, x: Tensor) -> Tensor:
        """`x` as it is."""
        return x
