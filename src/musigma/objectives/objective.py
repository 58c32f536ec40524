"""Objectives: their inputs, their results, and the base class of all of them."""

from abc import abstractmethod
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from musigma.objectives.divergences import kl_to_standard_normal
from musigma.objectives.schedules import Constant, Schedule
from workbench.errors import DataError


class Draw(NamedTuple):
    """K draws of z for each of B images, and their densities under the model.

    Args:
        log_likelihood: log p(x|z), `[K, B]`, nats per image.
        z: the draws, `[K, B, d]`.
        mu: the posterior's mean, `[B, d]`.
        std: its standard deviation, `[B, d]`; None where the posterior is a point.
        dataset_size: how many images the batch was taken from; None where it is not known.
    """

    log_likelihood: Tensor
    z: Tensor
    mu: Tensor
    std: Tensor | None
    dataset_size: int | None

    def distortion(self) -> Tensor:
        """D = −E_q[log p(x|z)], `[B]`, nats per image, estimated from the K draws."""
        return -self.log_likelihood.mean(0)

    def rate_per_dimension(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) of each dimension, `[B, d]`, in nats; raises for a point."""
        return kl_to_standard_normal(self.mu, self.posterior_std())

    def posterior_std(self) -> Tensor:
        """The posterior's std.

        Raises:
            ValueError: if the posterior is a point.
        """
        if self.std is None:
            raise ValueError("a point posterior has no density and no rate")
        return self.std

    def size_of_dataset(self) -> int:
        """How many images the batch was taken from.

        Raises:
            DataError: if that is not known.
        """
        if self.dataset_size is None:
            raise DataError(
                "the objective needs to know how many images the batch was taken from, and the "
                "loader's data set has no length: give it a __len__, or take another objective"
            )
        return self.dataset_size


class Loss(NamedTuple):
    """The loss of a batch, and what to report of it.

    Args:
        loss: a scalar in nats per image.
        terms: of each image, name → `[B]`, nats per image.
        settings: of the objective itself at this step, β for example.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    settings: dict[str, float]


@runtime_checkable
class Objective(Protocol):
    """An objective to minimise: an object whose attributes are its settings, or an `nn.Module`.

    Subclasses override the defaults that are not true of them.
    """

    @property
    def samples(self) -> int:
        """K, the number of draws of z for each image."""
        return 1

    @property
    def needs_rate(self) -> bool:
        """True if the posterior must have a density, and so a rate."""
        return True

    @property
    def uses_prior(self) -> bool:
        """True if codes are held to the prior N(0, I), so that log p(x) means something."""
        return True

    @property
    def monitor(self) -> str:
        """The metric, less being better, that tells which of two checkpoints is better.

        `loss`; or where a weight changes `target`, the loss with the last value of its schedule,
        which unlike the loss itself compares between steps.
        """
        weights = [value for value in vars(self).values() if isinstance(value, Schedule)]
        return "loss" if all(isinstance(weight, Constant) for weight in weights) else "target"

    @abstractmethod
    def __call__(self, draw: Draw, step: int) -> Loss:
        """The loss at optimizer step `step`."""


def common_terms(draw: Draw) -> dict[str, Tensor]:
    """Terms of every objective, `[B]` each: the distortion, and the rate if there is one.

    `elbo` is −(D + R), a bound on log p(x) whatever is being minimised.
    """
    terms = {"distortion": draw.distortion()}
    if draw.std is not None:
        terms["rate"] = draw.rate_per_dimension().sum(-1)
        terms["elbo"] = -(terms["distortion"] + terms["rate"])
    return terms
