"""The plots of a latent space, each with a caption or the reason why it is left out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from musigma.evaluation.conditions import View
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
NO_PRIOR = "left out: trained without a rate, so nothing ties the codes to the prior"
NO_RATE = "left out: the loss has no rate"
NO_RATES = "left out: the rate is not a sum over dimensions"
PLANE_DRAWS = 10_000
MOST_VIEWS = 20
"""The most labels for which a conditional model's samples are shown."""


def latent_plots(
    mu: Tensor,
    std: Tensor | None,
    rates: Tensor | None,
    y: Tensor,
    views: Mapping[str, View],
    *,
    latent_dims: Sequence[int],
) -> Iterator[NamedPlot]:
    """The plots of a latent space, which show the same draws in every run.

    Args:
        mu: posterior means of N images, `[N, d]`, on the CPU.
        std: posterior standard deviations, `[N, d]`; None for a point posterior.
        rates: rates of the dimensions, `[N, d]`; None if the rate is not a sum over dimensions.
        y: labels, `[N]`.
        views: the model's views, one for each label that it can be conditioned on, by caption.
            Plots of a single view show the first.
        latent_dims: the sizes of the stochastic layers, the decoded one first.
    """
    d = mu.shape[1]
    condition, view = next(iter(views.items()))
    decoded, prior, _ = view
    yield from _scatters(mu, std, y)
    if d == 2:
        codes, of = plane_of(view, mu)
        plane = decoded(plane_codes(PLANE, codes))
        plot = partial(plot_latent_plane, plane, codes, of, condition)
        where = f" of {condition}" if condition else ""
        yield NamedPlot(
            "latent_plane", f"The latent plane{where}, decoded at quantiles of {of}.", plot
        )
    if prior is not None:
        yield _samples(views)
    else:
        yield NamedPlot("samples", NO_PRIOR)
    if prior is None or std is None:
        yield NamedPlot("traversals", NO_PRIOR if prior is None else NO_RATE)
        yield NamedPlot("rates", NO_RATE)
        return
    rate = None if rates is None else rates.double().mean(0).float()
    moved_dims = latent_dims[0]
    steps = traversal_codes(torch.zeros(d), TRAVERSED)[:moved_dims]
    moved = decoded(prior.mean() + steps * prior.std())
    size = (spread(mu) / prior.std())[:moved_dims]
    yield NamedPlot(
        "traversals",
        f"One dimension{' of z₁' if moved_dims < d else ''} at a time moved by −3 to 3 standard "
        f"deviations from the mean of {view.of}, ordered by "
        f"{'rate' if rate is not None else 'the spread of μ in these units'}"
        f"{f'; {condition}' if condition else ''}.",
        partial(plot_traversals, moved, TRAVERSED, rate, condition, size),
    )
    if rate is not None:
        caption = "The rate of each dimension, averaged over the images."
        active = active_units(mu, prior.std())
        yield NamedPlot("rates", caption, partial(plot_rates, rate, active))
    else:
        yield NamedPlot("rates", NO_RATES)


def samples_of(views: Mapping[str, View], count: int) -> Tensor:
    """Decoded draws from the priors of V views, `[V, count, C, H, W]`, with one fixed seed."""
    codes = [view.prior.sample(count, seed=FIXED_SEED) for view in views.values() if view.prior]
    return torch.stack([view.decoded(z) for view, z in zip(views.values(), codes, strict=True)])


def _samples(views: Mapping[str, View]) -> NamedPlot:
    of = next(iter(views.values())).of
    caption = f"Mean images of draws from {of}, with the same seed in every run"
    title = f"Decoded draws from {of}"
    if len(views) == 1:
        (samples,) = samples_of(views, SAMPLES)
        return NamedPlot("samples", f"{caption}.", partial(image_grid, samples, title))
    shown = dict(islice(views.items(), MOST_VIEWS))
    plot = partial(image_figure, samples_of(shown, COLUMNS), title, rows=[*shown])
    return NamedPlot("samples", f"{caption} and in each row.", plot)


def plane_of(view: View, mu: Tensor | None) -> tuple[Tensor | None, str]:
    """The codes at whose quantiles the plane is decoded, and their name; None for N(0, I)."""
    prior = view.prior
    if prior is None:
        return mu, "μ, because nothing ties the codes to the prior"
    if prior.is_standard_normal:
        return None, view.of
    return prior.sample(PLANE_DRAWS, seed=FIXED_SEED), f"{view.of} in each dimension"


def _scatters(mu: Tensor, std: Tensor | None, y: Tensor) -> Iterator[NamedPlot]:
    """Scatter plots of μ in two dimensions and in two principal components, for d > 1."""
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
        caption = f"μ{by_class}, along the first two principal components."
        yield NamedPlot("latent_pca", caption, partial(plot_latent_pca, mu, y))
