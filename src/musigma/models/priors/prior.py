"""The base class of priors p(z)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from musigma.models.code_space import REAL_VECTORS
from musigma.objectives.draw import Draw, Posterior
from musigma.seeding import FIXED_SEED

DRAWS = 10_000
"""Draws from which moments without a closed form are estimated."""

MARGIN = 1.5
"""The default half-width of the box to integrate over, relative to the largest of those draws."""


class Prior(nn.Module, ABC):
    """A density over codes, whose parameters, if it has any, are trained with the model's.

    The constructor of a subclass takes the model, which has all attributes but `prior` by then,
    and keyword settings; it must not register the model as a submodule. A subclass must define
    only `log_prob` and `sample`.
    """

    code_space: str = REAL_VECTORS
    """The set that it is a density on, in words."""

    is_standard_normal: bool = False
    """True for N(0, I)."""

    has_density: bool = True
    """False if log p(z) is known up to a bound only, which `rate` uses; log p(x) is left out."""

    starts_at_mean_image: ClassVar[bool] = False
    """True if training calls `start_at` before its first step."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) of codes, `[..., d]` → `[...]`, in nats."""

    @abstractmethod
    def sample(self, count: int, *, seed: int) -> Tensor:
        """Draws `[count, d]`, float32 on the CPU, the same on every device."""

    def start_at(self, mean_image: Tensor) -> None:
        """Initialise at the mean of the training images, `[C, H, W]`; by default do nothing."""

    def rate(self, draw: Draw) -> Tensor:
        """KL(q(z|x) ‖ p(z)), `[B]`, in nats: the mean of log q(z|x) − log p(z) over the draws."""
        return (draw.log_posterior - draw.log_prior).mean(0)

    def rate_per_dimension(self, posterior: Posterior) -> Tensor | None:
        """KL(q(z_j|x) ‖ p(z_j)), `[B, d]`, in nats; None, unless a subclass overrides it."""
        return None

    def mean(self) -> Tensor:
        """The mean, `[d]`, on the CPU; by default estimated from draws with a fixed seed."""
        return self._draws().mean(0)

    def std(self) -> Tensor:
        """The standard deviation of each dimension, `[d]`, on the CPU; likewise by default."""
        return self._draws().std(0)

    def half_width(self) -> float | None:
        """The w of a box [−w, w]ᵈ outside of which the prior's mass is negligible.

        None if the codes are not all of ℝᵈ, or have no density.
        """
        if self.code_space != REAL_VECTORS or not self.has_density:
            return None
        return MARGIN * self._draws().abs().max().item()

    def _draws(self) -> Tensor:
        return self.sample(DRAWS, seed=FIXED_SEED)


PriorRecipe = Callable[[Any], Prior]
"""A `LatentVariableModel` without its prior → the prior."""
