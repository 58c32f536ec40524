"""What an objective is given and what it gives back."""

from typing import NamedTuple, Protocol

from torch import Tensor

from musigma.objectives.divergences import kl_to_standard_normal


class Draw(NamedTuple):
    """K draws of z for each of B images, and what the model says of them.

    Args:
        log_likelihood: log p(x|z), `[K, B]`, nats per image.
        z: the draws, `[K, B, d]`.
        mu: the posterior's mean, `[B, d]`.
        std: its standard deviation, `[B, d]`; None where the posterior is a point.
    """

    log_likelihood: Tensor
    z: Tensor
    mu: Tensor
    std: Tensor | None

    def distortion(self) -> Tensor:
        """D = −E_q[log p(x|z)], `[B]`, nats per image, estimated from the K draws."""
        return -self.log_likelihood.mean(0)

    def rate_per_dimension(self) -> Tensor | None:
        """KL(q(z|x) ‖ N(0, I)) of each dimension, `[B, d]`, in nats; None for a point."""
        return None if self.std is None else kl_to_standard_normal(self.mu, self.std)


class Objective(Protocol):
    """What is minimised. A plain object whose attributes are its settings."""

    @property
    def samples(self) -> int:
        """K, the number of draws of z for each image."""

    @property
    def needs_rate(self) -> bool:
        """Whether the posterior must be a distribution with a rate, and not a point."""

    def __call__(self, draw: Draw, step: int) -> "Loss":
        """The loss at optimizer step `step`."""


class Loss(NamedTuple):
    """What an objective says of a batch.

    Args:
        loss: what is minimised, a scalar in nats per image.
        terms: what to report of each image, name → `[B]`, nats per image.
        settings: what to report of the objective itself at this step, β for example.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    settings: dict[str, float] = {}  # noqa: RUF012 (a NamedTuple's default; never written to)


def distortion_and_rate(draw: Draw) -> dict[str, Tensor]:
    """The two terms that every objective reports; a point posterior has no rate."""
    terms = {"distortion": draw.distortion()}
    rate = draw.rate_per_dimension()
    if rate is not None:
        terms["rate"] = rate.sum(-1)
    return terms
