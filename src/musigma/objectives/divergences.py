"""Log densities of latent variables, divergences between them, and means of densities."""

import math

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


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Log (1/K) Σ_k exp(log_w), `[K, …]` → `[…]`."""
    return log_w.logsumexp(0) - math.log(len(log_w))
