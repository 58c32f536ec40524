"""Images and codes through a model, so many rows at once that they fit into memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from musigma.evaluation.reconstruction import ReconstructionErrors, reconstruction_errors
from musigma.models import LatentVariableModel
from musigma.objectives import Draw
from musigma.objectives.draw import Prior
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
    """The codes decoded at once: 8192 for images of MNIST's size, fewer for larger outputs."""
    return max(1, PIXELS // math.prod(model.likelihood.output_shape(model.image_shape)))


class LabelledImages(NamedTuple):
    """Images `[N, C, H, W]` and their labels `[N]`, as a model is given them."""

    x: Tensor
    y: Tensor


class View(NamedTuple):
    """A model as it decodes codes of no image: told one thing, if it is told any.

    Args:
        decoded: codes `[..., d]` → mean images `[..., C, H, W]` in [0, 1], without a gradient.
        prior: p(z), which new codes are drawn from; None if nothing holds codes to one.
        of: that density in words.
    """

    decoded: Callable[[Tensor], Tensor]
    prior: Prior | None
    of: str = "the prior"


def of_labels(model: LatentVariableModel, y: Tensor) -> LatentVariableModel:
    """The model, given the labels `[B]` of codes whose images nobody has."""
    # It asks for labels only; anything may stand for the images.
    return model.given(LabelledImages(y, y))


def inputs_of(model: LatentVariableModel, rows: Tensor) -> tuple[Tensor, ...]:
    """Some images or codes `[N, ...]`, with labels in turn where the model is told labels."""
    labels = torch.arange(len(rows), device=rows.device) % len(model.views())
    return (rows, labels) if model.told else (rows,)


class ImageSet(Protocol):
    """N images that may be too many for the memory."""

    def __len__(self) -> int: ...

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, so many at once at most, with their labels."""

    def at(self, rows: Tensor) -> Tensor:
        """The images at some places, `[n, C, H, W]`."""


class Rows:
    """N images `[N, C, H, W]`, of which those that are asked for are made.

    Args:
        count: N.
        at: places `[n]` → the images there, `[n, C, H, W]`, on the CPU.
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

    Images and reconstructions are not held: `x[rows]` reads some, and `x_hat[rows]` decodes them.

    Args:
        x: normalised images, `[N, C, H, W]`.
        y: labels, `[N]`.
        mu: posterior means, `[N, d]`.
        std: posterior standard deviations, `[N, d]`; 0 for a point posterior.
        x_hat: the mean images decoded from one draw of z each, as in every evaluation.
        log_likelihood: log p(x|z) of that draw, `[N]`, in nats.
        rate: R of each image, `[N]`, in nats; None for a point posterior.
        rates: the rate of each dimension, `[N, d]`; None if dimensions are not independent.
        errors: of those reconstructions.
        own: further terms that the model has of its own, by name, `[N]` each.
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


@torch.no_grad()
def encoded(
    model: LatentVariableModel, images: ImageSet, to_unit: Callable[[Tensor], Tensor]
) -> Encoded:
    """Encode and decode images, a batch at a time, with the noise of every evaluation.

    Args:
        model: in evaluation mode.
        images: are read once from the first to the last.
        to_unit: normalised pixels → the [0, 1] scale.

    Raises:
        DataError: if the model is told labels, and these are not among them.
    """
    names: tuple[str, ...] = ()

    def draw_of(x: Tensor, y: Tensor, noise: Tensor) -> tuple[Draw, Tensor]:
        draw = model.given(LabelledImages(x, y)).draw(x, noise.unsqueeze(0))
        return draw, model.likelihood.mean(draw.decoded())[0]

    def rows_of(x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        nonlocal names
        draw, x_hat = draw_of(x, y, noise)
        own = {**draw.reported, **draw.penalties, **draw.own_terms}
        names = tuple(own)
        errors = reconstruction_errors(x.cpu(), x_hat.cpu(), to_unit)
        q = draw.posterior
        return q.mu, q.std, draw.log_likelihood[0], *_rates_of(draw), *errors, *own.values()

    @torch.no_grad()
    def decoded(rows: Tensor) -> Tensor:
        given = images.at(rows).cpu(), labels[rows], noise[rows]
        return in_rows(lambda *rows: draw_of(*rows)[1:], *given, device=model.device)[0]

    noise = normal_noise(1, len(images), model.noise_dim, seed=FIXED_SEED)[0]
    parts, classes, first = [], [], 0
    for x, y in images.batches(min(ROWS, codes_at_once(model))):
        model.check(y)
        of_these = noise[first : first + len(x)]
        parts.append(in_rows(rows_of, x, y, of_these, device=model.device))
        classes.append(y.cpu())
        first += len(x)
    labels = torch.cat(classes)
    mu, std, log_likelihood, rate, rates, *more = map(torch.cat, zip(*parts, strict=True))
    kinds = len(ReconstructionErrors._fields)
    return Encoded(
        x=Rows(len(images), lambda rows: images.at(rows).cpu()),
        y=labels,
        mu=mu,
        std=std,
        x_hat=Rows(len(images), decoded),
        log_likelihood=log_likelihood,
        rate=rate if model.has_density else None,
        rates=rates if rates.shape[1] else None,
        errors=ReconstructionErrors(*more[:kinds]),
        own=dict(zip(names, more[kinds:], strict=True)),
    )


def _rates_of(draw: Draw) -> tuple[Tensor, Tensor]:
    """The rate, and that of each dimension; a tensor without columns for what there is not."""
    nothing = draw.z.new_zeros(draw.z.shape[1], 0)
    rates = draw.prior.rate_per_dimension(draw.posterior)
    rate = draw.rate() if draw.posterior.has_density else nothing
    return rate, nothing if rates is None else rates
