"""What an objective is given and what it gives back."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from musigma.objectives.divergences import kl_to_standard_normal
from musigma.objectives.schedules import Constant, Schedule


class Draw(NamedTuple):
    """K draws of z for each of B images, and what the model says of them.

    Args:
        log_likelihood: log p(x|z), `[K, B]`, nats per image.
        z: the draws, `[K, B, d]`.
        mu: the posterior's mean, `[B, d]`.
        std: its standard deviation, `[B, d]`; None where the posterior is a point.
        dataset_size: how many images the batch was taken from.
    """

    log_likelihood: Tensor
    z: Tensor
    mu: Tensor
    std: Tensor | None
    dataset_size: int

    def distortion(self) -> Tensor:
        """D = −E_q[log p(x|z)], `[B]`, nats per image, estimated from the K draws."""
        return -self.log_likelihood.mean(0)

    def rate_per_dimension(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) of each dimension, `[B, d]`, in nats.

        Raises:
            ValueError: if the posterior is a point, which has none.
        """
        return kl_to_standard_normal(self.mu, self.posterior_std())

    def posterior_std(self) -> Tensor:
        """`std`, for those who cannot do without.

        Raises:
            ValueError: if the posterior is a point.
        """
        if self.std is None:
            raise ValueError("a point posterior has no density and no rate")
        return self.std


class Loss(NamedTuple):
    """What an objective says of a batch.

    Args:
        loss: what is minimised, a scalar in nats per image.
        terms: what to report of each image, name → `[B]`, nats per image.
        settings: what to report of the objective itself at this step, β for example.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    settings: dict[str, float]


@runtime_checkable
class Objective(Protocol):
    """What is minimised: a plain object whose attributes are its settings."""

    @property
    def samples(self) -> int:
        """K, the number of draws of z for each image."""

    @property
    def needs_rate(self) -> bool:
        """Whether the posterior must be a distribution with a rate, and not a point."""

    @property
    def uses_prior(self) -> bool:
        """Whether codes are held to the prior N(0, I), so that log p(x) means something."""

    @property
    def monitor(self) -> str:
        """The figure, less being better, that tells which of two checkpoints is better.

        `loss`; or `target`, the loss with the last weight of a schedule, which unlike the loss
        itself compares between steps.
        """

    def __call__(self, draw: Draw, step: int) -> Loss:
        """The loss at optimizer step `step`."""


def common_terms(draw: Draw) -> dict[str, Tensor]:
    """What every objective reports, `[B]` each: distortion, and where there is a rate, that.

    `elbo` is −(D + R), a bound on log p(x) whatever is being minimised.
    """
    terms = {"distortion": draw.distortion()}
    if draw.std is not None:
        terms["rate"] = draw.rate_per_dimension().sum(-1)
        terms["elbo"] = -(terms["distortion"] + terms["rate"])
    return terms


def monitor_of(schedule: Schedule) -> str:
    """What to monitor under a weight."""
    return "loss" if isinstance(schedule, Constant) else "target"
