"""What a trained model has learned, in pictures; each with what it shows, or why it is left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from musigma.evaluation.latent import active_units, rate_per_dimension
from musigma.evaluation.reconstruction import class_means, reconstruction_errors, worst
from musigma.figures.class_errors import draw_class_errors
from musigma.figures.interpolations import draw_interpolations, interpolation_codes
from musigma.figures.latent_plane import draw_latent_plane, plane_codes
from musigma.figures.latent_scatter import draw_latent_pca, draw_latent_scatter
from musigma.figures.rates import draw_rates
from musigma.figures.reconstructions import draw_reconstructions
from musigma.figures.samples import image_grid
from musigma.figures.training_curves import draw_training_curves
from musigma.figures.traversals import draw_traversals, traversal_codes
from musigma.measuring import Encoded, objective_of
from musigma.runs.load import Run
from musigma.seeding import normal_noise

SHOWN = 10
PLANE = 20
STEPS = 9
WORST = 8
TRAVERSED = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
NO_PRIOR = "left out: trained without a rate, so nothing holds the codes to the prior N(0, I)"

Images = Callable[[Tensor], Tensor]
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


class Drawn(NamedTuple):
    """A picture for a page.

    Args:
        name: of its files.
        caption: what it shows; of one that would mean nothing for this model, the reason.
        figure: the picture, or None.
    """

    name: str
    caption: str
    figure: Figure | None = None


@torch.no_grad()
def draw(run: Run, test: Encoded, curves: Curves) -> Iterator[Drawn]:
    """Every picture of a run, always of the same images and the same draws.

    Args:
        run: the opened run.
        test: its test images.
        curves: its training curves, `train/loss` and so on → steps and values.
    """
    model, data, _ = run
    has_prior = objective_of(run).uses_prior
    mu, std, y = test.mu, test.std, test.y

    def shown(x: Tensor) -> Tensor:
        return data.normalization.to_unit(x).clamp(0, 1)

    def decoded(z: Tensor) -> Tensor:
        return shown(model.likelihood.mean(model.decode(z)))

    some = slice(SHOWN)
    yield Drawn(
        "reconstructions",
        "Test images, what is decoded of their μ, and of one draw of z.",
        draw_reconstructions(shown(test.x[some]), decoded(mu[some]), shown(test.x_hat[some])),
    )
    yield from _scatters(mu, std if model.posterior == "normal" else None, y)

    if model.latent_dim == 2 and has_prior:
        plane = draw_latent_plane(decoded(plane_codes(PLANE)))
        yield Drawn("latent_plane", "The latent plane, decoded at quantiles of the prior.", plane)
    elif model.latent_dim == 2:
        yield Drawn("latent_plane", NO_PRIOR)
    if has_prior:
        draws = decoded(normal_noise(100, model.latent_dim, seed=0))
        samples = image_grid(draws, "decoded draws from the prior")
        yield Drawn("samples", "Mean images of draws from the prior, all the same seed.", samples)
    else:
        yield Drawn("samples", NO_PRIOR)

    if has_prior and model.posterior == "normal":
        rate = rate_per_dimension(mu, std).float()
        moved = decoded(traversal_codes(torch.zeros(model.latent_dim), TRAVERSED))
        yield Drawn(
            "traversals",
            "One dimension at a time from −3 to 3 standard deviations of the prior, the others at "
            "0, by falling rate.",
            draw_traversals(moved, TRAVERSED, rate),
        )
        rates = draw_rates(rate, active_units(mu))
        yield Drawn("rates", "The rate of each dimension, over the test images.", rates)
    else:
        yield Drawn("traversals", NO_PRIOR)
        yield Drawn("rates", "left out: no rate is paid, so it says nothing")

    yield Drawn(
        "interpolations",
        "Decoded along straight lines between the μ of images of two classes.",
        _interpolations(test, shown, decoded),
    )
    yield Drawn(
        "class_errors",
        "Mean absolute error by class with standard errors, and the worst test images.",
        _class_errors(run, test, shown),
    )
    if curves:
        drawn = draw_training_curves(curves)
        yield Drawn("training_curves", "Training and validation, D and R apart.", drawn)


def _scatters(mu: Tensor, std: Tensor | None, y: Tensor) -> Iterator[Drawn]:
    d = mu.shape[1]
    if d == 1:
        return
    by_spread = mu.var(0).argsort(descending=True)[:2].sort().values.tolist()
    of = "both dimensions" if d == 2 else "the two dimensions in which μ varies most"
    yield Drawn(
        "latent_scatter",
        f"μ of the test images by class, in {of}, with posteriors of some as ellipses.",
        draw_latent_scatter(mu, y, std, (by_spread[0], by_spread[1])),
    )
    if d > 2:
        caption = "μ of the test images by class, along their two principal components."
        yield Drawn("latent_pca", caption, draw_latent_pca(mu, y))


def _interpolations(test: Encoded, shown: Images, decoded: Images) -> Figure:
    """Between the first images of classes 0 and 1, 2 and 3, and so on."""
    first = [int((test.y == label).nonzero()[0]) for label in test.y.unique()]
    starts, ends = first[0:-1:2], first[1::2]
    codes = interpolation_codes(test.mu[starts], test.mu[ends], STEPS)
    return draw_interpolations(decoded(codes), shown(test.x[starts]), shown(test.x[ends]))


def _class_errors(run: Run, test: Encoded, shown: Images) -> Figure:
    l1 = reconstruction_errors(test.x, test.x_hat, run.data.normalization.to_unit).l1
    means = class_means(l1, test.y)
    rows = worst(l1, WORST)
    return draw_class_errors(
        means.mean,
        means.error,
        quantity="l1 (per pixel)",
        classes=[str(int(label)) for label in means.label],
        x=shown(test.x[rows]),
        x_hat=shown(test.x_hat[rows]),
        captions=[f"{int(test.y[row])}: {float(l1[row]):.2f}" for row in rows],
    )
