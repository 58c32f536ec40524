"""Encoding and decoding of whole data sets, in chunks that fit into memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from musigma.evaluation.conditions import LabelledImages
from musigma.evaluation.reconstruction import ReconstructionErrors, reconstruction_errors
from musigma.models import LatentVariableModel
from musigma.objectives import Draw
from musigma.seeding import FIXED_SEED, normal_noise

ROWS = 1000
"""Images to encode, or codes to decode, at once; another number may change the last digits."""

PIXELS = 8192 * 784
"""Pixels to decode at once, for many codes of each image."""


def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor, device: torch.device
) -> tuple[Tensor, ...]:
    """Apply a function of rows `[n, ...]` to all rows `[N, ...]`, `ROWS` at a time.

    Rows are moved to `device` for the function; results are on the CPU.
    """
    chunks = zip(*(tensor.split(ROWS) for tensor in inputs), strict=True)
    parts = [[part.cpu() for part in function(*(c.to(device) for c in rows))] for rows in chunks]
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def codes_at_once(model: LatentVariableModel) -> int:
    """The number of codes to decode at once: 8192 for MNIST, fewer for larger outputs."""
    return max(1, PIXELS // math.prod(model.likelihood.output_shape(model.image_shape)))


class ImageSet(Protocol):
    """N images that may not fit into memory together."""

    def __len__(self) -> int: ...

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, at most `most` at a time, with their labels."""

    def at(self, rows: Tensor) -> Tensor:
        """The images at indices `[n]`, `[n, C, H, W]`."""


class Rows:
    """N images `[N, C, H, W]` that are read or decoded when they are indexed.

    Args:
        count: N.
        at: indices `[n]` → their images, `[n, C, H, W]`, on the CPU.
    """

    def __init__(self, count: int, at: Callable[[Tensor], Tensor]) -> None:
        self.count = count
        self.at = at

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Tensor:
        return self.at(torch.arange(self.count)[rows])


class Encoded(NamedTuple):
    """N images with their posteriors and reconstructions, all on the CPU.

    Images and reconstructions are not kept: `x[rows]` reads some, and `x_hat[rows]` decodes them.

    Args:
        x: normalised images, `[N, C, H, W]`.
        y: labels, `[N]`.
        mu: posterior means, `[N, d]`.
        std: posterior standard deviations, `[N, d]`; 0 for a point posterior.
        x_hat: the mean images decoded from one draw of z each, the same in every evaluation.
        log_likelihood: log p(x|z) of that draw, `[N]`, in nats.
        rate: R of each image, `[N]`, in nats; None for a point posterior.
        rates: the rate of each dimension, `[N, d]`; None if dimensions are not independent.
        errors: the errors of the reconstructions.
        own: name → a term of the model's own, `[N]`.
    """

    x: Rows
    y: Tensor
    mu: Tensor
    std: Tensor
    x_hat: Rows
    log_likelihood: Tensor
    rate: Tensor | None
    rates: Tensor | None
    errors: ReconstructionErrors
    own: Mapping[str, Tensor]

    def images(self, rows: slice | Tensor | list[int]) -> LabelledImages:
        """Some of the images, which are read now, with their labels."""
        return LabelledImages(self.x[rows], self.y[rows])


@torch.no_grad()
def encoded(
    model: LatentVariableModel, images: ImageSet, to_unit: Callable[[Tensor], Tensor]
) -> Encoded:
    """Encode and decode images, a batch at a time, with the fixed noise of evaluations.

    Args:
        model: in evaluation mode.
        images: the images, read once in order.
        to_unit: normalised pixels → the [0, 1] scale.

    Raises:
        DataError: if the model is conditioned on labels, and cannot use these.
    """

    def draw_of(x: Tensor, y: Tensor, noise: Tensor) -> tuple[Draw, Tensor]:
        draw = model.given(LabelledImages(x, y)).draw(x, noise.unsqueeze(0))
        return draw, model.likelihood.mean(draw.decoded())[0]

    @torch.no_grad()
    def decoded(rows: Tensor) -> Tensor:
        inputs = images.at(rows).cpu(), labels[rows], noise[rows]
        return in_chunks(lambda *rows: draw_of(*rows)[1:], *inputs, device=model.device)[0]

    noise = normal_noise(1, len(images), model.noise_dim, seed=FIXED_SEED)[0]
    parts, batch_labels, first = [], [], 0
    own: dict[str, Tensor] = {}
    for x, y in images.batches(min(ROWS, codes_at_once(model))):
        model.check(y)
        inputs = x, y, noise[first : first + len(x)]
        draw, x_hat = draw_of(*(rows.to(model.device) for rows in inputs))
        own = {**draw.reported, **draw.penalties, **draw.own_terms}
        pixels = x.cpu()
        observed = model.likelihood.observed(pixels)
        errors = reconstruction_errors(pixels, x_hat.cpu(), to_unit, observed)
        q = draw.posterior
        values = q.mu, q.std, draw.log_likelihood[0], *_rates_of(draw), *errors, *own.values()
        parts.append([value.cpu() for value in values])
        batch_labels.append(y.cpu())
        first += len(x)
    labels = torch.cat(batch_labels)
    mu, std, log_likelihood, rate, rates, *rest = map(torch.cat, zip(*parts, strict=True))
    error_count = len(ReconstructionErrors._fields)
    return Encoded(
        x=Rows(len(images), lambda rows: images.at(rows).cpu()),
        y=labels,
        mu=mu,
        std=std,
        x_hat=Rows(len(images), decoded),
        log_likelihood=log_likelihood,
        rate=rate if model.has_density else None,
        rates=rates if rates.shape[1] else None,
        errors=ReconstructionErrors(*rest[:error_count]),
        own=dict(zip(own, rest[error_count:], strict=True)),
    )


def _rates_of(draw: Draw) -> tuple[Tensor, Tensor]:
    """The rate `[B]` and that of each dimension `[B, d]`; `[B, 0]` for one that is undefined."""
    undefined = draw.z.new_zeros(draw.z.shape[1], 0)
    rates = draw.prior.rate_per_dimension(draw.posterior)
    rate = draw.rate() if draw.posterior.has_density else undefined
    return rate, undefined if rates is None else rates
