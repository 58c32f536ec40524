"""Images and codes through a model, so many rows at once that they fit into memory."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from musigma.models import Autoencoder
from musigma.seeding import FIXED_SEED, normal_noise

ROWS = 1000
"""Images encoded or decoded once each; another number may change the last digits."""

PIXELS = 8192 * 784
"""Pixels decoded of many codes an image."""


def in_rows(
    function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor, device: torch.device
) -> tuple[Tensor, ...]:
    """The results of a function of rows `[n, ...]` on all rows `[N, ...]`, `ROWS` at once.

    Rows are moved to `device`, where the function wants them; results are on the CPU.
    """
    chunks = zip(*(tensor.split(ROWS) for tensor in inputs), strict=True)
    parts = [[part.cpu() for part in function(*(c.to(device) for c in rows))] for rows in chunks]
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def codes_at_once(model: Autoencoder) -> int:
    """The codes decoded at once: 8192 to images of MNIST's size, fewer to larger ones."""
    return max(1, PIXELS // math.prod(model.image_shape))


class Encoded(NamedTuple):
    """N images with their posteriors and reconstructions, all on the CPU.

    Args:
        x: normalised images, `[N, C, H, W]`.
        y: labels, `[N]`.
        mu: posterior means, `[N, d]`.
        std: posterior standard deviations, `[N, d]`; 0 for a point posterior.
        x_hat: the mean images decoded from one draw of z each, as in every evaluation.
        log_likelihood: log p(x|z) of that draw, `[N]`, in nats.
    """

    x: Tensor
    y: Tensor
    mu: Tensor
    std: Tensor
    x_hat: Tensor
    log_likelihood: Tensor


@torch.no_grad()
def encoded(model: Autoencoder, x: Tensor, y: Tensor) -> Encoded:
    """Encode and decode images `[N, C, H, W]`, with the noise of every evaluation."""

    def rows_of(x: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        posterior = model.encode(x)
        output = model.decode(posterior.rsample(noise.unsqueeze(0)))
        log_likelihood = model.likelihood.log_prob(x, output)[0]
        return posterior.mu, posterior.std, model.likelihood.mean(output)[0], log_likelihood

    noise = normal_noise(1, len(x), model.latent_dim, seed=FIXED_SEED)[0]
    return Encoded(x, y, *in_rows(rows_of, x, noise, device=model.device))
