"""The pictures of a latent space: which of them mean something for a model, and why not others."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from musigma.evaluation.latent import active_units, rate_per_dimension, spread
from musigma.figures.latent_plane import draw_latent_plane, plane_codes
from musigma.figures.latent_scatter import draw_latent_pca, draw_latent_scatter
from musigma.figures.rates import draw_rates
from musigma.figures.samples import image_grid
from musigma.figures.traversals import draw_traversals, traversal_codes
from musigma.seeding import normal_noise

PLANE = 20
SAMPLES = 100
TRAVERSED = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
NO_PRIOR = "left out: trained without a rate, so nothing holds the codes to the prior N(0, I)"
NO_RATE = "left out: no rate is paid, so it says nothing"

Images = Callable[[Tensor], Tensor]


class Drawing(NamedTuple):
    """A figure that is drawn when it is wanted.

    Args:
        name: of its files.
        caption: what it shows; of one that would mean nothing for this model, the reason.
        draw: draws it; None for one that would mean nothing.
    """

    name: str
    caption: str
    draw: Callable[[], Figure] | None = None


def latent_drawings(
    mu: Tensor, std: Tensor | None, y: Tensor, decoded: Images, *, has_prior: bool
) -> Iterator[Drawing]:
    """Every picture of a latent space, always of the same draws.

    Args:
        mu: posterior means of N images, `[N, d]`, on the CPU.
        std: posterior standard deviations, the same; None for a point posterior.
        y: labels, `[N]`.
        decoded: codes `[..., d]` → mean images `[..., C, H, W]` in [0, 1], without a gradient.
        has_prior: whether the objective holds the codes to N(0, I).
    """
    d = mu.shape[1]
    yield from _scatters(mu, std, y)
    if d == 2:
        within = None if has_prior else mu
        plane = decoded(plane_codes(PLANE, within))
        of = "the prior" if has_prior else "μ, as nothing holds the codes to the prior"
        caption = f"The latent plane, decoded at quantiles of {of}."
        yield Drawing("latent_plane", caption, partial(draw_latent_plane, plane, within))
    if has_prior:
        draws = decoded(normal_noise(SAMPLES, d, seed=0))
        caption = "Mean images of draws from the prior, all the same seed."
        drawn = partial(image_grid, draws, "decoded draws from the prior")
        yield Drawing("samples", caption, drawn)
    else:
        yield Drawing("samples", NO_PRIOR)
    if has_prior and std is not None:
        rate = rate_per_dimension(mu, std).float()
        moved = decoded(traversal_codes(torch.zeros(d), TRAVERSED))
        yield Drawing(
            "traversals",
            "One dimension at a time from −3 to 3 standard deviations of the prior, the others at "
            "0, by falling rate.",
            partial(draw_traversals, moved, TRAVERSED, rate),
        )
        caption = "The rate of each dimension, over the images."
        yield Drawing("rates", caption, partial(draw_rates, rate, active_units(mu)))
    else:
        yield Drawing("traversals", NO_RATE if has_prior else NO_PRIOR)
        yield Drawing("rates", NO_RATE)


def _scatters(mu: Tensor, std: Tensor | None, y: Tensor) -> Iterator[Drawing]:
    d = mu.shape[1]
    if d == 1:
        return
    first, second = spread(mu).argsort(descending=True)[:2].sort().values.tolist()
    of = "both dimensions" if d == 2 else "the two dimensions in which μ varies most"
    by_class = " by class" if len(y.unique()) > 1 else ""
    ellipses = ", with posteriors of some as ellipses" if std is not None else ""
    yield Drawing(
        "latent_scatter",
        f"μ{by_class}, in {of}{ellipses}.",
        partial(draw_latent_scatter, mu, y, std, (first, second)),
    )
    if d > 2 and len(mu) > 1:
        caption = f"μ{by_class}, along their two principal components."
        yield Drawing("latent_pca", caption, partial(draw_latent_pca, mu, y))
