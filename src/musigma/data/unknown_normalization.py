"""Pixels that a loader of another class returns."""

import math

import torch
from torch import Tensor

from musigma.data.normalization import Normalization
from workbench.errors import DataError


class UnknownNormalization(Normalization):
    """Pixels as a loader returns them, normalised in an unknown way.

    For pixels outside [0, 1], metrics on the [0, 1] scale (PSNR, densities on the common scale) are
    NaN, and images are shown with the range of the first batch mapped to [0, 1].

    Args:
        x: the first batch.
    """

    def __init__(self, x: Tensor) -> None:
        self._low, self._high = x.min().item(), x.max().item()
        is_unit = self._low >= 0 and self._high <= 1
        is_binary = bool(((x == 0) | (x == 1)).all())
        self.pixels = "binary" if is_binary else "unit" if is_unit else "real"

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scale grey levels of other images to [0, 1], if the pixels of the data are there."""
        if self.pixels == "unit":
            return images.float().div_(255)
        raise DataError(
            "how your data module normalises its images is not known, so other images cannot be "
            "normalised like them: add them to its data"
        )

    def to_unit(self, x: Tensor) -> Tensor:
        return torch.full_like(x, math.nan) if self.pixels == "real" else x

    def shown(self, x: Tensor) -> Tensor:
        if self.pixels == "real":
            x = (x - self._low) / max(self._high - self._low, 1e-12)
        return x.clamp(0, 1)

    def log_unit_volume(self) -> float:
        return math.nan if self.pixels == "real" else 0.0
