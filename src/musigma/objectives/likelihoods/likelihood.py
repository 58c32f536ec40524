"""The base class of likelihoods p(x|z)."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from musigma.shapes import ImageShape

Pixels = Literal["real", "unit", "binary"]
"""Any real number, a number in [0, 1], or 0 and 1."""


class Likelihood(nn.Module, ABC):
    """A normalised density over a whole image, given the decoder's output for it.

    `x` is `[B, C, H, W]`; `output` is `[..., B, *output_shape]`, with leading dimensions such as
    the K draws of z. A likelihood may have parameters, such as a learned scale.
    """

    pixels: ClassVar[tuple[Pixels, ...]]
    """The kinds of pixels that the density is for."""

    constant: float = 0.0
    """The constant part of −log p(x|z), in nats per pixel, which the logged loss leaves out."""

    is_density: bool = True
    """True if exp(log_prob) integrates, or sums, to one over images of `pixels`."""

    is_probability: bool = False
    """True if it is a probability of discrete pixels, such as 0 and 1 or all grey levels.

    It compares with other probabilities, and not with a density.
    """

    @abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Log p(x|z), `[..., B]`, in nats per image, all constants included."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The mean image, in the pixels of the data, `[..., B, C, H, W]`."""

    @abstractmethod
    def sample(self, output: Tensor) -> Tensor:
        """One image from p(x|z) for each output, `[..., B, C, H, W]`."""

    def output_shape(self, image_shape: ImageShape) -> ImageShape:
        """The shape of the decoder's output for an image; by default one number per pixel."""
        return image_shape

    def observed(self, x: Tensor) -> Tensor | None:
        """A mask of the pixels that `l1`, `mse` and PSNR are measured on, as x; None for all.

        For images with missing pixels, where a channel of x says which these are.
        """
        return None

    def output_of(self, mean: Tensor) -> Tensor:
        """A decoder output whose mean image is about `mean`, from which training may start."""
        return mean

    def log_prob_of_pairs(self, x: Tensor, output: Tensor) -> Tensor:
        """Log p(x_b|z_g) of every image and every output: `[B, …]`, `[G, …]` → `[G, B]`, in nats.

        By default image by image, to save memory; some likelihoods need one matrix product only.
        """
        columns = [self.log_prob(image, output.unsqueeze(1)) for image in x.split(1)]
        return torch.cat(columns, 1)


def sum_over_pixels(per_pixel: Tensor) -> Tensor:
    """Sum over channels and pixels, `[..., C, H, W]` → `[...]`."""
    return per_pixel.flatten(-3).sum(-1)
