"""Draws of z with their distributions: the interface between models and objectives."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor

from workbench.errors import ConfigError, DataError

T = TypeVar("T")


class Posterior(Protocol):
    """q(z|x) of B images.

    By default its dimensions depend on one another, and its rate has no closed form.
    """

    def __iter__(self) -> Iterator[Tensor]:
        """Unpack as `mu, std`."""
        return iter((self.mu, self.std))

    @property
    @abstractmethod
    def mu(self) -> Tensor:
        """The mean, exact or estimated, `[B, d]`."""

    @property
    @abstractmethod
    def std(self) -> Tensor:
        """The standard deviation of each dimension, `[B, d]`; 0 for a point."""

    @property
    @abstractmethod
    def has_density(self) -> bool:
        """True if log q(z|x) is defined, and so a rate."""

    @abstractmethod
    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """Draws of z, `[..., B, d]`, from standard normal noise `[..., B, n]`, differentiable.

        By default one new draw, `[B, d]`.
        """

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z|x), `[..., B, d]` → `[..., B]`, in nats; a point raises a ConfigError."""

    @abstractmethod
    def detach(self) -> Self:
        """The same distribution with detached parameters."""

    def log_prob_at(self, noise: Tensor) -> Tensor:
        """Log q(z|x) of `rsample(noise)`, `[..., B]`; some avoid rounding by using the noise."""
        return self.log_prob(self.rsample(noise))

    def log_prob_per_dimension(self, z: Tensor) -> Tensor:
        """Log q(z_j|x), `[..., B, d]`, in nats; ConfigError unless dimensions are independent.

        `z` may be `[..., 1, d]`, to evaluate every code under the posteriors of all B images.
        """
        raise ConfigError(
            f"the dimensions of {type(self).__name__} depend on one another, and the objective "
            "needs the density of each alone: choose posterior=normal, or another objective"
        )

    def rate_to_standard_normal(self) -> Tensor | None:
        """KL(q(z|x) ‖ N(0, I)), `[B]`, in nats; None if it has no closed form."""
        return None

    def rate_per_dimension_to_standard_normal(self) -> Tensor | None:
        """KL(q(z_j|x) ‖ N(0, 1)), `[B, d]`, in nats; None unless dimensions are independent."""
        return None


class Prior(Protocol):
    """p(z), as far as objectives use it."""

    @property
    def is_standard_normal(self) -> bool:
        """True for N(0, I)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) of codes, `[..., d]` → `[...]`, in nats."""

    def rate(self, draw: "Draw") -> Tensor:
        """KL(q(z|x) ‖ p(z)), `[B]`, in nats, in closed form if known, else from the draws."""

    def rate_per_dimension(self, posterior: Any) -> Tensor | None:
        """KL(q(z_j|x) ‖ p(z_j)), `[B, d]`, in nats; None unless dimensions are independent."""


class computed_once(Generic[T]):  # noqa: N801 (as functools.cached_property)
    """`cached_property` without the lock of Python 3.11, which torch.compile cannot trace."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        value = instance.__dict__[self.name] = self.function(instance)
        return value


@dataclass(frozen=True)
class Draw:
    """K draws of z for each of B images, and their densities under the model.

    Args:
        log_likelihood: log p(x|z), `[K, B]`, nats per image.
        z: the draws, `[K, B, d]`.
        noise: the noise that z was made from, `[K, B, n]`.
        posterior: q(z|x) of the images.
        prior: p(z).
        output: the decoder's output for z, `[K, B, C, H, W]`; None if it was not kept.
        dataset_size: the number of images that the batch was taken from; None if unknown.
        penalties: name → a weighted term that the model adds to the loss, `[B]`, nats per image; a
            commitment loss, for example.
        own_terms: name → a term that the model's learners minimise, `[B]`; reported, and not a part
            of the loss.
        reported: name → a further term that is reported and not minimised, `[B]`.
        x: the images, `[B, C, H, W]`; None if they were not kept.
        model: the model, conditioned on the batch, for objectives that encode or decode more; None
            if it was not kept.
    """

    log_likelihood: Tensor
    z: Tensor
    noise: Tensor
    posterior: Posterior
    prior: Prior
    output: Tensor | None = None
    dataset_size: int | None = None
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    own_terms: Mapping[str, Tensor] = field(default_factory=dict)
    reported: Mapping[str, Tensor] = field(default_factory=dict)
    x: Tensor | None = None
    model: Any = None

    @computed_once
    def log_posterior(self) -> Tensor:
        """Log q(z|x), `[K, B]`, in nats; a point has none."""
        return self.posterior.log_prob_at(self.noise)

    @computed_once
    def log_prior(self) -> Tensor:
        """Log p(z), `[K, B]`, in nats."""
        return self.prior.log_prob(self.z)

    def log_weights(self) -> Tensor:
        """Log w = log p(x|z) + log p(z) − log q(z|x), the importance weights, `[K, B]`, in nats."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    def decoded(self) -> Tensor:
        """The decoder's output, `[K, B, C, H, W]`; ValueError if it was not kept."""
        if self.output is None:
            raise ValueError("this draw does not keep the decoder's output")
        return self.output

    def distortion(self) -> Tensor:
        """D = −E_q[log p(x|z)], `[B]`, nats per image, estimated from the K draws."""
        return -self.log_likelihood.mean(0)

    def rate(self) -> Tensor:
        """R = KL(q(z|x) ‖ p(z)), `[B]`, nats per image; a point has none."""
        return self.prior.rate(self)

    def rate_per_dimension(self) -> Tensor:
        """The rate of each dimension, `[B, d]`, in nats.

        Raises:
            ConfigError: if the dimensions of posterior or prior are not independent.
        """
        rates = self.prior.rate_per_dimension(self.posterior)
        if rates is None:
            raise ConfigError(
                f"{type(self.posterior).__name__} has no rate per dimension to the prior "
                f"{type(self.prior).__name__}: use posterior=normal and prior=standard_normal, or "
                "another objective"
            )
        return rates

    def known_dataset_size(self) -> int:
        """The number of images that the batch was taken from.

        Raises:
            DataError: if it is unknown.
        """
        if self.dataset_size is None:
            raise DataError(
                "the size of the data set is needed, and unknown: give the loader's data set a "
                "__len__, or choose another objective; a model's `draw`, which evaluation calls "
                "without it, has to do without it too"
            )
        return self.dataset_size
