"""Measures of the codes of a data set: rate, spread, and the aggregated posterior q(z)."""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from musigma.models.posteriors.normal import STD_FLOOR
from musigma.objectives.divergences import kl_to_standard_normal, log_standard_normal

ACTIVE_VARIANCE = 0.01
"""A dimension is active if the variance of mu is above this multiple of the prior's variance.

Burda, Grosse and Salakhutdinov 2016.
"""

DRAWS_AT_ONCE = 500
"""Draws to compare with the posteriors of all images at once: 40 MB for 10,000 images."""


class GaussianMoments(NamedTuple):
    """The mean `[d]` and covariance `[d, d]` of a distribution of codes, in float64."""

    mean: Tensor
    covariance: Tensor


def rate_per_dimension(mu: Tensor, std: Tensor) -> Tensor:
    """The mean over N images of KL(q(z_j|x) ‖ N(0, 1)), `[N, d]` → `[d]`, in nats per image.

    Infinite for a point posterior, which has no rate.
    """
    return kl_to_standard_normal(mu.double(), std.double()).mean(0)


def spread(mu: Tensor) -> Tensor:
    """The standard deviation of mu over N images, `[N, d]` → `[d]`, in units of the codes."""
    return mu.double().std(0, correction=0)


def active_units(mu: Tensor, prior_std: Tensor) -> Tensor:
    """The mask of active dimensions, `[N, d]` → `[d]`: Var(mu_j) above 0.01 of the prior's.

    Its sum is the number of active units (Burda, Grosse and Salakhutdinov 2016, for the prior
    N(0, I)). It is meaningless for a model that was trained without a rate. `prior_std` is the
    standard deviation of each dimension under the prior, `[d]`.
    """
    return spread(mu).square() > ACTIVE_VARIANCE * prior_std.double().square()


def signal_to_noise(mu: Tensor, std: Tensor) -> Tensor:
    """Var(mu_j) / mean(std_j²) over N images, `[N, d]` → `[d]`, without unit.

    It is invariant to the scale of the codes, so it compares models with and without a rate;
    infinite for a point posterior.
    """
    return spread(mu).square() / std.double().square().mean(0)


def share_at_floor(std: Tensor) -> float:
    """The share of stds `[N, d]` at their floor: at most twice 1e-6.

    There a stochastic autoencoder has become deterministic.
    """
    return (std <= 2 * STD_FLOOR).double().mean().item()


def aggregated_posterior(mu: Tensor, std: Tensor) -> GaussianMoments:
    """The moments of q(z) = (1/N) Σ q(z|x_n), from mu and std of N images, `[N, d]` each.

    By the law of total covariance Cov(z) = Cov(mu) + diag(mean std²).
    """
    mu, std = mu.double(), std.double()
    between = torch.cov(mu.T, correction=0).reshape(mu.shape[1], mu.shape[1])
    return GaussianMoments(mu.mean(0), between + std.square().mean(0).diag())


def gaussian_kl_to_prior(moments: GaussianMoments) -> float:
    """KL(N(m, Σ) ‖ N(0, I)) for the moments m, Σ of q(z), in nats; a lower bound of q(z)'s KL.

    ½ (tr Σ + |m|² − d − log det Σ). As log N(z; 0, I) is quadratic in z, KL(q(z) ‖ N(0, I)) is
    this plus KL(q(z) ‖ N(m, Σ)). Infinite if Σ is singular.
    """
    mean, covariance = moments
    log_det = torch.linalg.slogdet(covariance).logabsdet
    square = mean.square().sum() + covariance.trace() - len(mean)
    return 0.5 * (square - log_det).item()


def mutual_information(mu: Tensor, std: Tensor, *, generator: Generator) -> Tensor:
    """Log q(z|x) − log q(z) of one draw z for each of N images, `[N, d]` → `[N]`, in nats.

    The mean estimates I_q(x; z), the rate less KL(q(z) ‖ p(z)) (Hoffman and Johnson 2016). q(z) is
    the mixture over the same N images, including x, so no value exceeds log N (9.21 for 10,000),
    and the expectation is a lower bound on the information about all images (Poole et al. 2019),
    which is loose near log N. The generator is on the CPU.

    Raises:
        ValueError: if a std is not positive.
    """
    if not torch.all(std > 0):
        raise ValueError("mutual information needs a posterior with a density, and std is 0")
    noise = torch.randn(mu.shape, generator=generator, dtype=torch.float64)
    mu, std = mu.double().cpu(), std.double().cpu()
    mu = mu - mu.mean(0)
    z = mu + std * noise
    # Computed from the noise, this is accurate even where std is tiny against mu.
    log_own = log_standard_normal(noise) - std.log().sum(1)
    # log q(z|x_n) of all pairs is one matrix product: it is quadratic in z.
    precision = std.pow(-2)
    coefficients = torch.cat([-0.5 * precision, mu * precision], 1).T
    log_scale = -std.log().sum(1) - 0.5 * mu.shape[1] * math.log(2 * math.pi)
    constant = log_scale - 0.5 * (mu.square() * precision).sum(1)
    log_q = []
    for rows in torch.arange(len(z)).split(DRAWS_AT_ONCE):
        pairs = torch.cat([z[rows].square(), z[rows]], 1) @ coefficients + constant
        pairs[torch.arange(len(rows)), rows] = log_own[rows]
        log_q.append(pairs.logsumexp(1))
    return log_own - torch.cat(log_q) + math.log(len(z))
