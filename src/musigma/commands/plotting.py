"""The plots of a trained model, each with a caption or the reason why it is left out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure
from torch import Tensor

from musigma.evaluation.encoding import Encoded
from musigma.evaluation.reconstruction import class_means, worst
from musigma.loading import Run
from musigma.models import LatentVariableModel
from musigma.plots.curves import COLOURS, PANELS, plot_class_errors, plot_training_curves
from musigma.plots.images import (
    interpolation_codes,
    plot_interpolations,
    plot_reconstructions,
    plot_worst,
)
from musigma.plots.latent import latent_plots
from musigma.plots.named import NamedPlot
from musigma.plots.style import class_name

SHOWN = 10
STEPS = 9
WORST = 8
NO_CLASSES = "left out: the test images have fewer than two classes"
ONE_IMAGE = "left out: there is only one test image"
NO_CURVES = "left out: this run's TensorBoard files have no curves"

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def plots_of(run: Run, test: Encoded, curves: Curves) -> Iterator[NamedPlot]:
    """The plots of a run, which show the same images and the same draws in every run.

    `curves` are its training curves: tag, such as `train/loss`, → steps and values.
    """
    shown = run.data.normalization.shown
    x, mu, x_hat = test.x[:SHOWN], test.mu[:SHOWN], test.x_hat[:SHOWN]
    from_mu = run.decoded(mu, _given(run, test, range(len(x))))
    yield NamedPlot(
        "reconstructions",
        "Test images, their reconstructions from μ, and from one draw of z.",
        partial(plot_reconstructions, shown(x), from_mu, shown(x_hat)),
    )
    yield from latent_plots(
        test.mu,
        test.std if run.model.has_density else None,
        test.rates,
        test.y,
        run.views(),
        latent_dims=run.model.latent_dims,
    )
    if len(test.y) > 1:
        ends = (
            "the same class" if run.model.conditioned_on else "different classes, if there are any"
        )
        caption = f"Decoded along straight lines between the μ of two images of {ends}."
        yield NamedPlot("interpolations", caption, partial(_interpolations, run, test))
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
    classes = [f"{class_name(int(test.y[row]))}: " * by_class for row in rows]
    names = [f"{name}{float(l1[row]):.2f}" for name, row in zip(classes, rows, strict=True)]
    yield NamedPlot(
        "worst_reconstructions",
        "The test images with the largest mean absolute errors, above their reconstructions; "
        f"below, {'class and ' * by_class}error.",
        partial(plot_worst, shown(test.x[rows]), shown(test.x_hat[rows]), names),
    )
    if any(f"{stage}/{name}" in curves for stage in COLOURS for name in PANELS):
        caption = "Curves of training and validation, with D and R separately."
        yield NamedPlot("training_curves", caption, partial(plot_training_curves, curves))
    else:
        yield NamedPlot("training_curves", NO_CURVES)


def _interpolations(run: Run, test: Encoded) -> Figure:
    """Interpolate between the first images of classes 0 and 1, 2 and 3, and so on.

    Without classes, between the first images of all; with a conditional model, between two images
    of class 0, two of class 1, and so on.
    """
    labels = test.y.unique()[:SHOWN]
    by_class = [(test.y == label).nonzero().flatten().tolist() for label in labels]
    if run.model.conditioned_on:
        chosen = [row for rows in by_class[: SHOWN // 2] for row in (rows[0], rows[-1])]
    elif len(by_class) > 1:
        chosen = [rows[0] for rows in by_class]
    else:
        chosen = [*range(min(SHOWN, len(test.y)))]
    starts, ends = chosen[0:-1:2], chosen[1::2]
    codes = interpolation_codes(test.mu[starts], test.mu[ends], STEPS)
    # A model conditioned on N images decodes codes [..., N, d].
    decoded = run.decoded(codes.transpose(0, 1), _given(run, test, starts)).transpose(0, 1)
    shown = run.data.normalization.shown
    return plot_interpolations(decoded, shown(test.x[starts]), shown(test.x[ends]))


def _given(run: Run, test: Encoded, rows: Sequence[int]) -> LatentVariableModel:
    """The model conditioned on some of the test images."""
    return run.model.given(test.images([*rows]).to(run.model.device))


def _class_errors(l1: Tensor, y: Tensor) -> Figure:
    means = class_means(l1, y)
    classes = [class_name(int(label)) for label in means.label]
    return plot_class_errors(means.mean, means.error, quantity="l1 (per pixel)", classes=classes)
