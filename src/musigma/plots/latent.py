"""The plots of a latent space: those that mean something for a model, and why not the others."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from musigma.evaluation.encoding import View
from musigma.evaluation.latent import active_units, spread
from musigma.plots.curves import plot_rates
from musigma.plots.images import (
    COLUMNS,
    image_grid,
    plane_codes,
    plot_latent_plane,
    plot_traversals,
    traversal_codes,
)
from musigma.plots.named import NamedPlot
from musigma.plots.scatter import plot_latent_pca, plot_latent_scatter
from musigma.plots.style import image_figure
from musigma.seeding import FIXED_SEED

PLANE = 20
SAMPLES = 100
TRAVERSED = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
NO_PRIOR = "left out: trained without a rate, so nothing holds the codes to the prior"
NO_RATE = "left out: no rate is paid, so it says nothing"
NO_RATES = "left out: the rate is not a sum over dimensions"
PLANE_DRAWS = 10_000
MOST_VIEWS = 20
"""The rows of samples shown, of a model that is told one of more labels."""


def latent_plots(
    mu: Tensor,
    std: Tensor | None,
    rates: Tensor | None,
    y: Tensor,
    views: Mapping[str, View],
    *,
    latent_dims: Sequence[int] | None = None,
) -> Iterator[NamedPlot]:
    """Every plot of a latent space, always of the same draws.

    Args:
        mu: posterior means of N images, `[N, d]`, on the CPU.
        std: posterior standard deviations, likewise; None for a point posterior.
        rates: of each dimension, likewise; None where the rate is not a sum over dimensions.
        y: labels, `[N]`.
        views: the model, once for each thing that it may be told, by captions. Plots of one are of
            the first.
        latent_dims: the sizes of the stochastic layers, the one that is decoded first; one layer
            by default.
    """
    d = mu.shape[1]
    told, view = next(iter(views.items()))
    decoded, prior, _ = view
    yield from _scatters(mu, std, y)
    if d == 2:
        within, of = plane_of(view, mu)
        plane = decoded(plane_codes(PLANE, within))
        caption = f"The latent plane{f' of {told}' if told else ''}, decoded at quantiles of {of}."
        plot = partial(plot_latent_plane, plane, within, of, told)
        yield NamedPlot("latent_plane", caption, plot)
    if prior is not None:
        yield _samples(views)
    else:
        yield NamedPlot("samples", NO_PRIOR)
    if prior is None or std is None:
        yield NamedPlot("traversals", NO_PRIOR if prior is None else NO_RATE)
        yield NamedPlot("rates", NO_RATE)
        return
    rate = None if rates is None else rates.double().mean(0).float()
    layer = d if latent_dims is None else latent_dims[0]
    steps = traversal_codes(torch.zeros(d), TRAVERSED)[:layer]
    moved = decoded(prior.mean() + steps * prior.std())
    size = (spread(mu) / prior.std())[:layer]
    yield NamedPlot(
        "traversals",
        f"One dimension{' of z₁' if layer < d else ''} at a time from −3 to 3 standard deviations "
        f"of {view.of} around its mean, the others there, by falling "
        f"{'rate' if rate is not None else 'spread of μ in those units'}"
        f"{f'; {told}' if told else ''}.",
        partial(plot_traversals, moved, TRAVERSED, rate, told, size),
    )
    if rate is not None:
        caption = "The rate of each dimension, over the images."
        active = active_units(mu, prior.std())
        yield NamedPlot("rates", caption, partial(plot_rates, rate, active))
    else:
        yield NamedPlot("rates", NO_RATES)


def samples_of(views: Mapping[str, View], count: int) -> Tensor:
    """Decoded draws from the priors of V views, `[V, count, C, H, W]`, of the same seed."""
    codes = [view.prior.sample(count, seed=FIXED_SEED) for view in views.values() if view.prior]
    return torch.stack([view.decoded(z) for view, z in zip(views.values(), codes, strict=True)])


def _samples(views: Mapping[str, View]) -> NamedPlot:
    of = next(iter(views.values())).of
    caption = f"Mean images of draws from {of}, always of the same seed"
    title = f"Decoded draws from {of}"
    if len(views) == 1:
        (samples,) = samples_of(views, SAMPLES)
        return NamedPlot("samples", f"{caption}.", partial(image_grid, samples, title))
    shown = dict(islice(views.items(), MOST_VIEWS))
    plot = partial(image_figure, samples_of(shown, COLUMNS), title, rows=[*shown])
    return NamedPlot("samples", f"{caption}, which is the same in each row.", plot)


def plane_of(view: View, mu: Tensor | None) -> tuple[Tensor | None, str]:
    """The codes at whose quantiles a plane is decoded, and what they are; None for N(0, I)'s."""
    prior = view.prior
    if prior is None:
        return mu, "μ, as nothing holds the codes to the prior"
    if prior.is_standard_normal:
        return None, view.of
    return prior.sample(PLANE_DRAWS, seed=FIXED_SEED), f"{view.of} in each dimension"


def _scatters(mu: Tensor, std: Tensor | None, y: Tensor) -> Iterator[NamedPlot]:
    d = mu.shape[1]
    if d == 1:
        return
    first, second = spread(mu).argsort(descending=True)[:2].sort().values.tolist()
    of = "both dimensions" if d == 2 else "the two dimensions in which μ varies most"
    by_class = " by class" if len(y.unique()) > 1 else ""
    ellipses = ", with one standard deviation of some posteriors as ellipses"
    ellipses = "" if std is None else ellipses
    yield NamedPlot(
        "latent_scatter",
        f"μ{by_class}, in {of}{ellipses}.",
        partial(plot_latent_scatter, mu, y, std, (first, second)),
    )
    if d > 2 and len(mu) > 1:
        caption = f"μ{by_class}, along their two principal components."
        yield NamedPlot("latent_pca", caption, partial(plot_latent_pca, mu, y))
