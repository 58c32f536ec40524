"""Images and codes through a model, so many rows at once that they fit into memory."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from musigma.models import LatentVariableModel
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


def codes_at_once(model: LatentVariableModel) -> int:
    """The codes decoded at once: 8192 to images of MNIST's size, fewer to larger ones."""
    return max(1, PIXELS // math.prod(model.image_shape))


class Shown(NamedTuple):
    """Images `[N, C, H, W]` and their labels `[N]`, as a model is given them."""

    x: Tensor
    y: Tensor


def of_labels(model: LatentVariableModel, y: Tensor) -> LatentVariableModel:
    """The model, given the labels `[B]` of codes whose images nobody has."""
    return model.given(Shown(y, y))  # it asks for labels only; anything may stand for the images


def inputs_of(model: LatentVariableModel, rows: Tensor) -> tuple[Tensor, ...]:
    """Some images or codes `[N, ...]`, with labels in turn where the model is told labels."""
    labels = torch.arange(len(rows), device=rows.device) % len(model.views())
    return (rows, labels) if model.told else (rows,)


class Encoded(NamedTuple):
    """N images with their posteriors and reconstructions, all on the CPU.

    Args:
        x: normalised images, `[N, C, H, W]`.
        y: labels, `[N]`.
        mu: posterior means, `[N, d]`.
        std: posterior standard deviations, `[N, d]`; 0 for a point posterior.
        x_hat: the mean images decoded from one draw of z each, as in every evaluation.
        log_likelihood: log p(x|z) of that draw, `[N]`, in nats.
        rate: R of each image, `[N]`, in nats; None for a point posterior.
        rates: the rate of each dimension, `[N, d]`; None if dimensions are not independent.
    """

    x: Tensor
    y: Tensor
    mu: Tensor
    std: Tensor
    x_hat: Tensor
    log_likelihood: Tensor
    rate: Tensor | None
    rates: Tensor | None


@torch.no_grad()
def encoded(model: LatentVariableModel, x: Tensor, y: Tensor) -> Encoded:
    """Encode and decode images `[N, C, H, W]`, with the noise of every evaluation.

    Raises:
        DataError: if the model is told labels, and these are not among them.
    """
    model.check(y)
    has_rates = False

    def rows_of(x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        nonlocal has_rates
        draw = model.given(Shown(x, y)).draw(x, noise.unsqueeze(0))
        q = draw.posterior
        rates = model.prior.rate_per_dimension(q)
        has_rates = rates is not None
        nothing = torch.zeros(len(x), 0)
        return (
            q.mu,
            q.std,
            model.likelihood.mean(draw.decoded())[0],
            draw.log_likelihood[0],
            draw.rate() if q.has_density else nothing,
            nothing if rates is None else rates,
        )

    noise = normal_noise(1, len(x), model.noise_dim, seed=FIXED_SEED)[0]
    mu, std, x_hat, log_likelihood, rate, rates = in_rows(rows_of, x, y, noise, device=model.device)
    found = Encoded(x, y, mu, std, x_hat, log_likelihood, rate, rates)
    return found._replace(
        rate=rate if model.has_density else None, rates=rates if has_rates else None
    )
