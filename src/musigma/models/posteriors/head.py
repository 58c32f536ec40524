"""Heads: from the encoder's features to a posterior."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from musigma.models.code_space import ANY_NUMBERS
from musigma.objectives.draw import Posterior


class Head(nn.Module, ABC):
    """Predicts q(z|x) from features `[B, F]`, of a family that it stands for.

    A subclass takes `features` F and `latent_dim` d first, and settings of its own by name.
    """

    has_density: ClassVar[bool] = True
    """False if its posteriors are points, which have no rate."""

    code_space: str = ANY_NUMBERS
    """The set of all codes, in words, if it is not ℝᵈ; the prior's has to be the same."""

    noise_dim: int
    """n, the standard normal numbers that one draw of z takes; d unless a subclass sets it."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.noise_dim = latent_dim

    def nearest(self, z: Tensor) -> Tensor:
        """The codes nearest to `z`, `[..., d]`: those themselves, if `code_space` is ℝᵈ."""
        return z

    @abstractmethod
    def forward(self, features: Tensor) -> Posterior:
        """The posterior, in float32 at least, whatever the precision of the features."""


HeadRecipe = Callable[[int, int], Head]
"""F and d → a head."""
