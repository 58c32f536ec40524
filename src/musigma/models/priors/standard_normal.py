"""The standard normal prior."""

from typing import Any

import torch
from torch import Tensor

from musigma.models.priors.prior import Prior
from musigma.objectives.divergences import log_standard_normal
from musigma.objectives.draw import Draw, Posterior
from musigma.seeding import normal_noise


class StandardNormal(Prior):
    """N(0, I), under which the rate of Gaussian posteriors has a closed form."""

    is_standard_normal = True

    def __init_subclass__(cls) -> None:
        """Refuse a subclass, because its rate and moments would stay those of N(0, I)."""
        raise TypeError(
            f"{cls.__name__} subclasses StandardNormal, whose rate, mean and std are those of "
            "N(0, I) whatever log_prob and sample are: subclass Prior"
        )

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.latent_dim: int = model.latent_dim

    def log_prob(self, z: Tensor) -> Tensor:
        return log_standard_normal(z)

    def sample(self, count: int, *, seed: int) -> Tensor:
        return normal_noise(count, self.latent_dim, seed=seed)

    def rate(self, draw: Draw) -> Tensor:
        """In closed form if the posterior has one, else from the draws."""
        rate = draw.posterior.rate_to_standard_normal()
        return super().rate(draw) if rate is None else rate

    def rate_per_dimension(self, posterior: Posterior) -> Tensor | None:
        """KL(q(z_j|x) ‖ N(0, 1)), `[B, d]`, in nats, if the dimensions are independent."""
        return posterior.rate_per_dimension_to_standard_normal()

    def mean(self) -> Tensor:
        return torch.zeros(self.latent_dim)

    def std(self) -> Tensor:
        return torch.ones(self.latent_dim)

    def half_width(self) -> float:
        """8, beyond which the mass of a dimension is below 10⁻¹⁴."""
        return 8.0
