"""Divergences between posterior and prior, per latent dimension."""

from torch import Tensor


def kl_to_standard_normal(mu: Tensor, std: Tensor) -> Tensor:
    """KL(N(mu, std²) ‖ N(0, 1)) of each dimension, `[B, d]` → `[B, d]`, in nats.

    ½ (mu² + std² − 1 − log std²): Kingma and Welling 2014, appendix B.
    """
    return 0.5 * (mu.square() + std.square() - 1) - std.log()
