"""The plots of a latent space: those that mean something for a model, and why not the others."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from musigma.evaluation.latent import active_units, rate_per_dimension, spread
from musigma.plots.curves import plot_rates
from musigma.plots.images import (
    image_grid,
    plane_codes,
    plot_latent_plane,
    plot_traversals,
    traversal_codes,
)
from musigma.plots.named import NamedPlot
from musigma.plots.scatter import plot_latent_pca, plot_latent_scatter
from musigma.seeding import FIXED_SEED, normal_noise

PLANE = 20
SAMPLES = 100
TRAVERSED = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
NO_PRIOR = "left out: trained without a rate, so nothing holds the codes to the prior N(0, I)"
NO_RATE = "left out: no rate is paid, so it says nothing"

Images = Callable[[Tensor], Tensor]


def latent_plots(
    mu: Tensor, std: Tensor | None, y: Tensor, decoded: Images, *, has_prior: bool
) -> Iterator[NamedPlot]:
    """Every plot of a latent space, always of the same draws.

    Args:
        mu: posterior means of N images, `[N, d]`, on the CPU.
        std: posterior standard deviations, likewise; None for a point posterior.
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
        yield NamedPlot("latent_plane", caption, partial(plot_latent_plane, plane, within))
    if has_prior:
        samples = decoded(normal_noise(SAMPLES, d, seed=FIXED_SEED))
        caption = "Mean images of draws from the prior, always of the same seed."
        plot = partial(image_grid, samples, "decoded draws from the prior")
        yield NamedPlot("samples", caption, plot)
    else:
        yield NamedPlot("samples", NO_PRIOR)
    if has_prior and std is not None:
        rate = rate_per_dimension(mu, std).float()
        moved = decoded(traversal_codes(torch.zeros(d), TRAVERSED))
        yield NamedPlot(
            "traversals",
            "One dimension at a time from −3 to 3 standard deviations of the prior, the others at "
            "0, by falling rate.",
            partial(plot_traversals, moved, TRAVERSED, rate),
        )
        caption = "The rate of each dimension, over the images."
        yield NamedPlot("rates", caption, partial(plot_rates, rate, active_units(mu)))
    else:
        yield NamedPlot("traversals", NO_RATE if has_prior else NO_PRIOR)
        yield NamedPlot("rates", NO_RATE)


def _scatters(mu: Tensor, std: Tensor | None, y: Tensor) -> Iterator[NamedPlot]:
    d = mu.shape[1]
    if d == 1:
        return
    first, second = spread(mu).argsort(descending=True)[:2].sort().values.tolist()
    of = "both dimensions" if d == 2 else "the two dimensions in which μ varies most"
    by_class = " by class" if len(y.unique()) > 1 else ""
    ellipses = ", with posteriors of some as ellipses" if std is not None else ""
    yield NamedPlot(
        "latent_scatter",
        f"μ{by_class}, in {of}{ellipses}.",
        partial(plot_latent_scatter, mu, y, std, (first, second)),
    )
    if d > 2 and len(mu) > 1:
        caption = f"μ{by_class}, along their two principal components."
        yield NamedPlot("latent_pca", caption, partial(plot_latent_pca, mu, y))
