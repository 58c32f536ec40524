"""Log densities of latent variables and divergences between them."""

import math

import torch
from torch import Tensor


def kl_to_standard_normal(mu: Tensor, std: Tensor) -> Tensor:
    """KL(N(mu, std²) ‖ N(0, 1)) of each dimension, `[B, d]` → `[B, d]`, in nats.

    ½ (mu² + std² − 1 − log std²): Kingma and Welling 2014, appendix B.
    """
    return 0.5 * (mu.square() + std.square() - 1) - std.log()


def log_normal_per_dimension(z: Tensor, mu: Tensor, std: Tensor) -> Tensor:
    """Log N(z; mu, std²) of each dimension, `[..., d]`, in nats."""
    return -0.5 * ((z - mu) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)


def log_normal(z: Tensor, mu: Tensor, std: Tensor) -> Tensor:
    """Log N(z; mu, diag std²), `[..., d]` → `[...]`, in nats."""
    return log_normal_per_dimension(z, mu, std).sum(-1)


def log_standard_normal(z: Tensor) -> Tensor:
    """Log N(z; 0, I), `[..., d]` → `[...]`, in nats."""
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


def mmd_to_standard_normal(z: Tensor, squared_width: float) -> Tensor:
    """Squared maximum mean discrepancy between draws and N(0, I), a scalar without unit.

    With the kernel exp(−|x − y|² / 2h²) both expectations over the prior have closed forms, so
    no draws of it are needed: MMD² = mean_{i≠j} k(z_i, z_j) − 2 mean_i E_y k(z_i, y) + E k(x, y)
    (Gretton et al. 2012, equation 3; the closed forms: Rustamov 2021). Unbiased.

    Args:
        z: draws, `[B, d]`, B at least 2.
        squared_width: h².
    """
    count, d = z.shape
    between = torch.exp(-torch.cdist(z, z).square() / (2 * squared_width))
    among = (between.sum() - between.diagonal().sum()) / (count * (count - 1))
    to_prior = torch.exp(-z.square().sum(1) / (2 * (squared_width + 1))).mean()
    first = (squared_width / (squared_width + 1)) ** (d / 2)
    second = (squared_width / (squared_width + 2)) ** (d / 2)
    return among - 2 * first * to_prior + second
