"""Plots on a sweep's page: rate and distortion, and thumbnails of the models."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import make_grid

from musigma.evaluation.conditions import LabelledImages
from musigma.loading import Run, load_run
from musigma.plots.images import pair_rows, plane_codes
from musigma.plots.latent import MOST_VIEWS, plane_of, samples_of
from musigma.plots.rate_distortion import Point, plot_rate_distortion
from musigma.plots.sprites import png_of
from musigma.plots.style import viewable
from musigma.seeding import FIXED_SEED, normal_noise
from workbench.pages.render import data_url, figure_url
from workbench.sweeps.compare import Comparison, Group
from workbench.sweeps.plots import Plot, spot_at
from workbench.sweeps.varied import label_of, text_of

SIDE = 12
"""Images along each side of a latent plane."""

COLUMNS = 8
"""Samples in a row."""

IMAGES = 1000
"""Test images encoded for a thumbnail."""


def sweep_plots(compared: Comparison) -> dict[str, Iterator[Plot]]:
    """The plots of a sweep's page, by title."""
    return {"Rate and distortion": rate_distortion_plots(compared)}


def rate_distortion_plots(compared: Comparison) -> Iterator[Plot]:
    """A rate-distortion plot for each scale of the distortion.

    The distortion is the one on the [0, 1] scale if that makes fewer plots.
    """
    stage = (compared.metric or "").partition("/")[0]
    rate = f"{stage}/rate"
    groups = [group for group in compared.groups if group.has(rate)]
    scales = {
        name: dict.fromkeys(group.scale(name) for group in groups)
        for name in (f"{stage}/distortion", f"{stage}/distortion_unit")
        if all(group.has(name) for group in groups)
    }
    metric = min(scales, key=lambda name: len(scales[name]), default="")
    joined = _joined_setting(groups)
    for scale in scales.get(metric, ()):
        points = [
            Point(
                label_of({compared.varied[n]: v for n, v in g.settings.items() if n != joined}),
                g.means[rate],
                g.means[metric],
                g.errors[rate],
                g.errors[metric],
                f"{compared.varied[joined]}={text_of(g.settings[joined])}" if joined else "",
            )
            for g in groups
            if g.scale(metric) == scale
        ]
        figure = plot_rate_distortion(points)
        source = figure_url(figure)
        spots = [spot_at(figure.axes[0], p.rate, p.distortion, _words(p)) for p in points]
        caption = "Means over seeds, with standard errors if there are several; "
        caption += f"grey lines have equal ELBO. {', '.join(scale)}."
        yield Plot(source, caption, spots)


def _words(point: Point) -> str:
    label = ", ".join(filter(None, (point.label, point.series)))
    return f"{label}: rate {point.rate:.2f}, distortion {point.distortion:.2f} nats per image"


def _joined_setting(groups: Sequence[Group]) -> str | None:
    """The setting by which points are joined to lines: the varied one with the fewest values."""
    names = list(groups[0].settings) if groups else []
    values = {name: {text_of(group.settings[name]) for group in groups} for name in names}
    return min(names, key=lambda name: len(values[name])) if len(names) > 1 else None


@torch.no_grad()
def thumbnails(folder: Path) -> list[Plot]:
    """Samples of a run's best checkpoint, or reconstructions without a prior; a plane if d = 2.

    The latent plane is decoded at quantiles of the prior, or without one, at quantiles of the codes
    of test images.
    """
    try:
        return list(_thumbnails(load_run(folder, device="cpu")))
    except Exception as error:  # the page must not fail because of one model
        return [Plot("", f"no plot: {error}")]


def _thumbnails(run: Run) -> Iterator[Plot]:
    model, data, _ = run
    mu, views = None, run.views()
    condition, view = next(iter(views.items()))
    if view.prior is not None:
        is_conditional = len(views) > 1
        shown = dict(islice(views.items(), MOST_VIEWS))
        samples = samples_of(shown, COLUMNS if is_conditional else COLUMNS**2).flatten(0, 1)
        grid = make_grid(viewable(samples), nrow=COLUMNS, padding=0)
        yield Plot(
            _pixels(grid),
            "decoded draws from the prior" + ", a row for each class" * is_conditional,
        )
    else:
        data.setup("test")
        images = LabelledImages(*next(data.evaluation_loader("test").images().batches(IMAGES)))
        mu = model.given(images).encode(images.x).mu
        few = images.at(slice(16))
        noise = normal_noise(1, len(few.x), model.noise_dim, seed=FIXED_SEED)
        x_hat = model.likelihood.mean(model.given(few).draw(few.x, noise).decoded()[0])
        on_unit = data.normalization.shown
        pairs = pair_rows(on_unit(few.x), on_unit(x_hat))
        yield Plot(_pixels(pairs), "no prior, so samples mean nothing: reconstructions")
    if model.latent_dim == 2:
        codes, of = plane_of(view, mu)
        plane = viewable(view.decoded(plane_codes(SIDE, codes)).flatten(0, 1))
        caption = f"latent plane at quantiles of {of.partition(',')[0]}"
        caption += f"; {condition}" if condition else ""
        yield Plot(_pixels(make_grid(plane, nrow=SIDE, padding=0)), caption)


def _pixels(image: Tensor) -> str:
    """An image `[3, H, W]` in [0, 1] as a `data:` URL of a PNG file."""
    return data_url("png", png_of(image))
