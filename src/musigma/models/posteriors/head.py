"""The base class of heads, which turn the encoder's features into a posterior."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from musigma.models.code_space import REAL_VECTORS
from musigma.objectives.draw import Posterior


class Head(nn.Module, ABC):
    """Predicts q(z|x) from features `[B, F]`, in one family of posteriors.

    The constructor of a subclass takes `features` F and `latent_dim` d, then keyword settings.
    """

    has_density: ClassVar[bool] = True
    """False if its posteriors are points, which have no rate."""

    code_space: str = REAL_VECTORS
    """The set of all codes, in words; the prior's must be the same."""

    noise_dim: int
    """n, the number of standard normal values that one draw of z takes; d by default."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.noise_dim = latent_dim

    def nearest(self, z: Tensor) -> Tensor:
        """The valid codes nearest to `z`, `[..., d]`; `z` itself if `code_space` is ℝᵈ."""
        return z

    @abstractmethod
    def forward(self, features: Tensor) -> Posterior:
        """The posterior of features `[B, F]`, in float32 at least, even under mixed precision."""


HeadRecipe = Callable[[int, int], Head]
"""F and d → a head."""
