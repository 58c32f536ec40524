"""Measures of the codes of a data set: their rate, their spread, and q(z) as a whole."""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from musigma.models.posteriors.normal import STD_FLOOR
from musigma.objectives.divergences import kl_to_standard_normal, log_standard_normal

ACTIVE_VARIANCE = 0.01
"""The variance of mu over the data, in units of the prior's, above which a dimension is active.

Burda, Grosse and Salakhutdinov 2016.
"""

DRAWS_AT_ONCE = 500
"""Draws compared with the posteriors of all images at once: 40 MB for 10,000 images."""


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
    """A mask of the active dimensions: the variance of mu exceeds 0.01 of the prior's.

    `[N, d]` → a mask `[d]`, whose sum is the number of active units (Burda, Grosse and
    Salakhutdinov 2016, of the prior N(0, I)). It means nothing for a model that was trained
    without a rate.

    Args:
        mu: posterior means, `[N, d]`.
        prior_std: the standard deviation of each dimension under the prior, `[d]`.
    """
    return spread(mu).square() > ACTIVE_VARIANCE * prior_std.double().square()


def signal_to_noise(mu: Tensor, std: Tensor) -> Tensor:
    """Var(mu_j) / mean(std_j²) over N images, `[N, d]` → `[d]`, without unit.

    It does not change when the codes are rescaled, so it means the same without a rate as with
    one; infinite for a point posterior.
    """
    return spread(mu).square() / std.double().square().mean(0)


def share_at_floor(std: Tensor) -> float:
    """The share of all stds `[N, d]` that owe at least half their size to the floor of 1e-6.

    There a stochastic autoencoder has made itself deterministic.
    """
    return (std <= 2 * STD_FLOOR).double().mean().item()


def aggregated_posterior(mu: Tensor, std: Tensor) -> GaussianMoments:
    """The moments of q(z) = (1/N) Σ q(z|x_n), the mixture over N images, `[N, d]` each.

    By the law of total covariance Cov(z) = Cov(mu) + diag(mean std²).
    """
    mu, std = mu.double(), std.double()
    between = torch.cov(mu.T, correction=0).reshape(mu.shape[1], mu.shape[1])
    return GaussianMoments(mu.mean(0), between + std.square().mean(0).diag())


def gaussian_kl_to_prior(moments: GaussianMoments) -> float:
    """KL(N(mean, covariance) ‖ N(0, I)), in nats: how far q(z) is from the prior at the least.

    ½ (tr Σ + |m|² − d − log det Σ). As log N(z; 0, I) is quadratic in z, KL(q(z) ‖ N(0, I)) is
    this plus KL(q(z) ‖ N(m, Σ)), which no moment sees. Infinite where Σ is singular.
    """
    mean, covariance = moments
    log_det = torch.linalg.slogdet(covariance).logabsdet
    square = mean.square().sum() + covariance.trace() - len(mean)
    return 0.5 * (square - log_det).item()


def mutual_information(mu: Tensor, std: Tensor, *, generator: Generator) -> Tensor:
    """Log q(z|x) − log q(z) of one draw z for each of N images, `[N, d]` → `[N]`, in nats.

    Its mean estimates I_q(x; z), by which the rate exceeds KL(q(z) ‖ p(z)) (Hoffman and
    Johnson 2016). q(z) is the mixture over the same N images, x's own among them, so no value
    exceeds log N (9.21 for 10,000), and the expectation is a lower bound on the information
    about all images (Poole et al. 2019): near log N it says "at least".

    Args:
        mu: `[N, d]`.
        std: `[N, d]`, positive; a point posterior has no density.
        generator: of the draws, on the CPU.

    Raises:
        ValueError: if a std is not positive.
    """
    if not torch.all(std > 0):
        raise ValueError("mutual information needs a posterior with a density, and std is 0")
    noise = torch.randn(mu.shape, generator=generator, dtype=torch.float64)
    mu, std = mu.double().cpu(), std.double().cpu()
    mu = mu - mu.mean(0)
    z = mu + std * noise
    # In terms of the noise no digits are lost where std is small against mu.
    log_own = log_standard_normal(noise) - std.log().sum(1)
    # log q(z|x_n) for all pairs as one matrix product: quadratic, linear and constant in z.
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
