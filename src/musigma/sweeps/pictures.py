"""The figures of a sweep's page, each as an image that the page can hold."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from matplotlib.image import imsave
from torch import Tensor
from torchvision.utils import make_grid

from musigma.figures import pair_rows
from musigma.figures.latent_plane import plane_codes
from musigma.figures.learning_curves import Curve, draw_learning_curves
from musigma.figures.parameter_plot import Series, draw_parameter
from musigma.figures.rate_distortion import Point, draw_rate_distortion
from musigma.figures.style import viewable
from musigma.pages.render import address, embedded
from musigma.runs.curves import read_curves
from musigma.runs.load import Run, load_run
from musigma.seeding import normal_noise
from musigma.sweeps.collect import SweepRun
from musigma.sweeps.compare import Comparison, Group, Scale, meaning_of, scale_of
from musigma.sweeps.varied import label_of, text_of

MOST_CURVES = 60
"""Runs whose curves are read and drawn."""

SIDE = 12
"""Images along each side of a latent plane."""


class Picture(NamedTuple):
    """An image as a `data:` address, or none, and what it is of or why there is none."""

    source: str
    caption: str


def rate_distortion_planes(compared: Comparison) -> Iterator[Picture]:
    """A plane for each kind of distortion, on the common scale where that brings more together."""
    stage = (compared.figure or "").partition("/")[0]
    rate = f"{stage}/rate"
    groups = [group for group in compared.groups if group.has(rate)]
    kinds = {
        figure: dict.fromkeys(group.scale(figure) for group in groups)
        for figure in (f"{stage}/distortion", f"{stage}/distortion_unit")
        if all(group.has(figure) for group in groups)
    }
    figure = min(kinds, key=lambda name: len(kinds[name]), default="")
    joined = _fewest_values(groups)
    for scale in kinds.get(figure, ()):
        points = [
            Point(
                label_of({compared.varied[n]: v for n, v in g.settings.items() if n != joined}),
                g.means[rate],
                g.means[figure],
                g.errors[rate],
                g.errors[figure],
                f"{compared.varied[joined]}={text_of(g.settings[joined])}" if joined else "",
            )
            for g in groups
            if g.scale(figure) == scale
        ]
        yield Picture(embedded(draw_rate_distortion(points)), ", ".join(scale))


def _fewest_values(groups: Sequence[Group]) -> str | None:
    """Of several settings that varied, the one by which a plane's points are joined."""
    names = list(groups[0].settings) if groups else []
    values = {name: {text_of(group.settings[name]) for group in groups} for name in names}
    return min(names, key=lambda name: len(values[name])) if len(names) > 1 else None


def parameter_plots(compared: Comparison) -> Iterator[Picture]:
    """The deciding figure against each setting that varied; apart for those it does not compare."""
    figure = compared.figure or ""
    for winner in compared.winners:
        for name in winner.groups[0].settings:
            lines: dict[str, list[Group]] = {}
            for group in winner.groups:
                others = {compared.varied[n]: v for n, v in group.settings.items() if n != name}
                lines.setdefault(label_of(others), []).append(group)
            if len({text_of(group.settings[name]) for group in winner.groups}) > 1:
                series = [
                    Series(
                        label,
                        [group.settings[name] for group in line],
                        [group.means[figure] for group in line],
                        [group.errors[figure] for group in line],
                    )
                    for label, line in lines.items()
                ]
                drawn = draw_parameter(
                    series, parameter=name, y=_with_unit(figure, compared.runs())
                )
                yield Picture(embedded(drawn), ", ".join(winner.scale))


def curve_plots(compared: Comparison, unfinished: Sequence[SweepRun]) -> Iterator[Picture]:
    """Validation's deciding metrics over training; apart for runs that do not compare.

    They are the one that decides, and those that would where the one that runs monitor did not.
    """
    labels = {run.path: group.label for group in compared.groups for run in group.runs}
    runs = [*compared.runs(), *unfinished][:MOST_CURVES]
    named = [name for run in runs if run.meanings for name in run.meanings.deciding[1:]]
    decider = (compared.figure or "loss").rpartition("/")[2]
    tags = [f"val/{name}" for name in dict.fromkeys([*named, decider])]
    overlaid: dict[tuple[str, Scale], list[Curve]] = {}
    for run in runs:
        label = labels.get(run.path, f"{run.path.name} ({run.status})")
        logged = read_curves(run.path)
        for tag in [tag for tag in tags if tag in logged]:
            curve = Curve(label, *logged[tag])
            overlaid.setdefault((tag, scale_of(run, tag)), []).append(curve)
    for (tag, scale), curves in sorted(overlaid.items(), key=lambda item: tags.index(item[0][0])):
        drawn = draw_learning_curves(curves, y=_with_unit(tag, runs))
        yield Picture(embedded(drawn), ", ".join(scale))


@torch.no_grad()
def thumbnails(run: SweepRun) -> list[Picture]:
    """Samples and latent plane of a run's best checkpoint; reconstructions where it has no prior.

    The plane, of d = 2, is decoded at the quantiles of the prior, or where codes are held to
    none, at those of the codes of test images.
    """
    try:
        return list(_thumbnails(load_run(run.path)))
    except Exception as error:  # one model that does not open must not cost the page
        return [Picture("", f"no picture: {error}")]


def _thumbnails(run: Run) -> Iterator[Picture]:
    model, data, _ = run
    uses_prior = run.objective().uses_prior

    def decoded(z: Tensor) -> Tensor:
        return viewable(run.decoded(z))

    if uses_prior:
        samples = decoded(normal_noise(64, model.latent_dim, seed=0))
        yield Picture(_pixels(make_grid(samples, padding=0)), "means of samples")
    else:
        data.setup("test")
        x: Any = data.test_dataloader().dataset.tensors[0][:1000]
        posterior = model.encode(x)
        z = posterior.rsample(normal_noise(len(x), model.latent_dim, seed=0))
        pairs = pair_rows(viewable(data.normalization.shown(x[:16])), decoded(z[:16]))
        yield Picture(_pixels(pairs), "no prior, so samples mean nothing: reconstructions")
    if model.latent_dim == 2:
        codes = plane_codes(SIDE, None if uses_prior else posterior.mu)
        plane = make_grid(decoded(codes).flatten(0, 1), nrow=SIDE, padding=0)
        of = "the prior" if uses_prior else "the codes"
        yield Picture(_pixels(plane), f"latent plane at quantiles of {of}")


def _with_unit(figure: str, runs: Sequence[SweepRun]) -> str:
    return f"{figure} ({meaning_of(runs, figure).unit})"


def _pixels(picture: Tensor) -> str:
    """A picture `[3, H, W]` in [0, 1], pixel by pixel."""
    buffer = io.BytesIO()
    imsave(buffer, picture.permute(1, 2, 0).numpy(), format="png")
    return address("png", buffer.getvalue())
