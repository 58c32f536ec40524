"""The base class of priors p(z)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from musigma.models.code_space import ANY_NUMBERS
from musigma.objectives.draw import Draw, Posterior
from musigma.seeding import FIXED_SEED

DRAWS = 10_000
"""Draws from which the moments of a prior are taken that does not know them."""

MARGIN = 1.5
"""The half-width of the box that is integrated over, in largest entries of that many draws."""


class Prior(nn.Module, ABC):
    """A density over codes, whose parameters, if it has any, are trained with the model's.

    A subclass takes the model first, which has `latent_dim`, `image_shape` and an encoder by then,
    and settings of its own by name; it must not keep the model as a part. `log_prob` and `sample`
    are all that it has to write.
    """

    code_space: str = ANY_NUMBERS
    """The set that it is a density on, in words, if that is not all of ℝᵈ."""

    is_standard_normal: bool = False
    """True for N(0, I)."""

    starts_at_mean_image: ClassVar[bool] = False
    """True if training calls `start_at` before its first step."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) of codes, `[..., d]` → `[...]`, in nats."""

    @abstractmethod
    def sample(self, count: int, *, seed: int) -> Tensor:
        """Draws `[count, d]`, float32 on the CPU, the same on every device."""

    def start_at(self, mean_image: Tensor) -> None:
        """Begin at the mean of the training images, `[C, H, W]`; by default nothing is done."""

    def rate(self, draw: Draw) -> Tensor:
        """KL(q(z|x) ‖ p(z)), `[B]`, in nats: E log q(z|x) − log p(z), from the draws."""
        return (draw.log_posterior - draw.log_prior).mean(0)

    def rate_per_dimension(self, posterior: Posterior) -> Tensor | None:
        """The same of each dimension, `[B, d]`; None, unless a subclass knows it."""
        return None

    def mean(self) -> Tensor:
        """The mean, `[d]`, on the CPU; by default that of fixed draws."""
        return self._draws().mean(0)

    def std(self) -> Tensor:
        """The standard deviation of each dimension, `[d]`, on the CPU; likewise."""
        return self._draws().std(0)

    def half_width(self) -> float | None:
        """The box [−w, w]ᵈ that holds the prior's mass, but for what an integral can miss.

        None if codes do not fill space.
        """
        if self.code_space != ANY_NUMBERS:
            return None
        return MARGIN * self._draws().abs().max().item()

    def _draws(self) -> Tensor:
        return self.sample(DRAWS, seed=FIXED_SEED)


PriorRecipe = Callable[[Any], Prior]
"""The `LatentVariableModel`, all but its prior → a prior."""
