"""The plots of a trained model, each with its caption, or the reason why it is left out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure
from torch import Tensor

from musigma.evaluation.encoding import Encoded
from musigma.evaluation.reconstruction import class_means, worst
from musigma.loading import Run
from musigma.plots.curves import COLOURS, PANELS, plot_class_errors, plot_training_curves
from musigma.plots.images import (
    interpolation_codes,
    plot_interpolations,
    plot_reconstructions,
    plot_worst,
)
from musigma.plots.latent import Images, latent_plots
from musigma.plots.named import NamedPlot

SHOWN = 10
STEPS = 9
WORST = 8
NO_CLASSES = "left out: the test images are of one class, or of none"
ONE_IMAGE = "left out: there is one test image only"
NO_CURVES = "left out: TensorBoard's files hold no curves of this run"

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def plots_of(run: Run, test: Encoded, curves: Curves) -> Iterator[NamedPlot]:
    """Every plot of a run, always of the same images and the same draws.

    Args:
        run: the opened run.
        test: its test images.
        curves: its training curves, `train/loss` and so on → steps and values.
    """
    shown, decoded = run.data.normalization.shown, run.decoded
    x, mu, x_hat = test.x[:SHOWN], test.mu[:SHOWN], test.x_hat[:SHOWN]
    yield NamedPlot(
        "reconstructions",
        "Test images, what is decoded of their μ, and of one draw of z.",
        partial(plot_reconstructions, shown(x), decoded(mu), shown(x_hat)),
    )
    yield from latent_plots(
        test.mu,
        test.std if run.model.has_density else None,
        test.rates,
        test.y,
        decoded,
        prior=run.prior(),
        latent_dims=run.model.latent_dims,
    )
    if len(test.y) > 1:
        caption = "Decoded along straight lines between the μ of two images, of two classes if "
        caption += "there are."
        yield NamedPlot("interpolations", caption, partial(_interpolations, test, shown, decoded))
    else:
        yield NamedPlot("interpolations", ONE_IMAGE)
    l1 = test.errors.l1
    by_class = len(test.y.unique()) > 1
    if by_class:
        caption = "Mean absolute error of the test images by class, with standard errors."
        yield NamedPlot("class_errors", caption, partial(_class_errors, l1, test.y))
    else:
        yield NamedPlot("class_errors", NO_CLASSES)
    rows = worst(l1, WORST)
    names = [f"{int(test.y[row])}: " * by_class + f"{float(l1[row]):.2f}" for row in rows]
    yield NamedPlot(
        "worst_reconstructions",
        "The test images with the largest mean absolute errors, above their reconstructions.",
        partial(plot_worst, shown(test.x[rows]), shown(test.x_hat[rows]), names),
    )
    if any(f"{stage}/{name}" in curves for stage in COLOURS for name in PANELS):
        caption = "Training and validation, D and R apart."
        yield NamedPlot("training_curves", caption, partial(plot_training_curves, curves))
    else:
        yield NamedPlot("training_curves", NO_CURVES)


def _interpolations(test: Encoded, shown: Images, decoded: Images) -> Figure:
    """Between the first images of classes 0 and 1, 2 and 3, and so on; without classes, of all."""
    labels = test.y.unique()[:SHOWN]
    first = [int((test.y == label).nonzero()[0]) for label in labels]
    first = first if len(first) > 1 else [*range(min(SHOWN, len(test.y)))]
    starts, ends = first[0:-1:2], first[1::2]
    codes = interpolation_codes(test.mu[starts], test.mu[ends], STEPS)
    return plot_interpolations(decoded(codes), shown(test.x[starts]), shown(test.x[ends]))


def _class_errors(l1: Tensor, y: Tensor) -> Figure:
    means = class_means(l1, y)
    classes = [str(int(label)) for label in means.label]
    return plot_class_errors(means.mean, means.error, quantity="l1 (per pixel)", classes=classes)
