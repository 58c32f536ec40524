"""Plots of numbers, and properties of every plot."""

import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_hex

from musigma.plots.curves import plot_class_errors, plot_rates, plot_training_curves
from musigma.plots.images import (
    image_grid,
    plot_interpolations,
    plot_latent_plane,
    plot_reconstructions,
    plot_traversals,
    plot_worst,
)
from musigma.plots.scatter import plot_latent_pca, plot_latent_scatter
from workbench.plots.style import BLUE, CLASS_COLOURS

CURVES = {
    f"{stage}/{name}": ([99, 199], [2.0, 1.0 + offset])
    for name in ("loss", "distortion", "rate", "l1", "loss_step")
    for stage, offset in (("train", 0.0), ("val", 0.5), ("test", 0.7))
}


def _codes(count=300, d=3):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 10
    mu = torch.randn(count, d, generator=generator) + 20 * torch.eye(10, d)[y]
    return mu, y, 0.1 + torch.rand(count, d, generator=generator)


def _every_figure(shape=(1, 6, 6)):
    images = torch.rand(4, 4, *shape, generator=torch.Generator().manual_seed(0))
    mu, y, std = _codes()
    rate, values = torch.tensor([0.5, 0.0, 2.0, 0.1]), torch.tensor([0.3, 0.1, 0.2, 0.2])
    words = ["a", "b", "c", "d"]
    return {
        "reconstructions": plot_reconstructions(*images[:3]),
        "scatter": plot_latent_scatter(mu, y, std),
        "scatter of points": plot_latent_scatter(mu, y),
        "scatter of many classes": plot_latent_scatter(mu, torch.arange(len(y)), std),
        "pca": plot_latent_pca(mu, y),
        "plane": plot_latent_plane(images),
        "traversals": plot_traversals(images, [-2.0, -1.0, 1.0, 2.0], rate),
        "interpolations": plot_interpolations(images, images[:, 0], images[:, 1]),
        "samples": image_grid(images[0], "Four samples"),
        "rates": plot_rates(rate, rate > 0.2),
        "curves": plot_training_curves(CURVES),
        "class errors": plot_class_errors(
            values, values / 10, quantity="mse", classes=words
        ),
        "many class errors": plot_class_errors(
            torch.rand(100), torch.rand(100), quantity="mse", classes=[*map(str, range(100))]
        ),
        "worst": plot_worst(images[0], images[1], words),
    }  # fmt: skip


def _settings():
    """The settings of matplotlib, except the backend: reading that would choose one."""
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}


def _places(collection):
    return torch.tensor(np.asarray(collection.get_offsets())).float()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "shape"),
    [pytest.param("png", (1, 6, 6), marks=pytest.mark.exhaustive), ("pdf", (3, 8, 5))],
)
def test_every_plot_can_be_written_and_changes_no_matplotlib_state(kind, shape):
    settings = _settings()
    for figure in _every_figure(shape).values():
        written = io.BytesIO()
        figure.savefig(written, format=kind)
        assert written.tell() > 1000
    assert plt.get_fignums() == []
    assert _settings() == settings


def test_every_plot_is_white_and_titled_and_has_a_printable_size():
    for name, figure in _every_figure().items():
        assert to_hex(figure.get_facecolor()) == "#ffffff", name
        assert any(axes.get_title() for axes in figure.axes), name
        assert 0.5 < figure.get_figheight() < 10, name
        assert 2 < figure.get_figwidth() < 12, name


def test_every_plot_names_both_its_axes():
    figures = _every_figure()
    for name in ("scatter", "pca", "rates", "curves"):
        for axes in figures[name].axes:
            assert axes.get_xlabel(), name
            assert axes.get_ylabel(), name


def test_the_ten_class_colours_differ():
    assert len(set(CLASS_COLOURS)) == 10


def test_a_scatter_shows_codes_in_the_colours_of_their_classes():
    mu, y, std = _codes()
    (axes,) = plot_latent_scatter(mu, y, std, dimensions=(2, 1)).axes
    _, points, *_ = axes.collections
    torch.testing.assert_close(_places(points), mu[:, [2, 1]])
    colours = [to_hex(colour) for colour in points.get_facecolors()]
    assert colours == [CLASS_COLOURS[label].lower() for label in y]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("μ of z₂", "μ of z₁")
    assert [text.get_text() for text in axes.get_legend().texts] == [str(i) for i in range(10)]


def test_an_ellipse_is_one_standard_deviation_around_a_code():
    mu, y, std = _codes()
    (axes,) = plot_latent_scatter(mu, y, std).axes
    (ellipses,) = [part for part in axes.collections if isinstance(part, EllipseCollection)]
    offsets = _places(ellipses)
    diameters = torch.tensor(np.stack([ellipses.get_widths(), ellipses.get_heights()], 1))
    assert len(offsets) == 100
    for offset, diameter in zip(offsets, diameters, strict=True):
        ((row,),) = (mu[:, :2] == offset).all(1).nonzero(as_tuple=True)
        torch.testing.assert_close(diameter, 2 * std[row, :2])
    assert "100" in axes.get_title()
    (axes,) = plot_latent_scatter(mu, y).axes
    assert not any(isinstance(part, EllipseCollection) for part in axes.collections)


def test_a_class_is_labelled_at_its_median_unless_labels_would_overlap():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    centres = torch.tensor([[0.0, 0.0], [0.1, 0.0], [50.0, 50.0]])
    mu = centres[y] + torch.randn(300, 2, generator=generator)
    (axes,) = plot_latent_scatter(mu, y).axes
    places = torch.tensor([text.get_position() for text in axes.texts])
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
    torch.testing.assert_close(places[2], mu[y == 2].median(0).values)
    apart = (places[0] - places[1]).norm().item()
    assert apart == pytest.approx(0.055 * (mu.amax(0) - mu.amin(0)).max().item(), rel=0.01)
    middle = (mu[y == 0].median(0).values + mu[y == 1].median(0).values) / 2
    torch.testing.assert_close(places[:2].mean(0), middle)


@pytest.mark.slow
def test_there_may_be_more_classes_than_colours():
    mu, _, std = _codes(count=500, d=2)
    figure = plot_latent_scatter(mu, torch.arange(500) % 47, std)
    figure.savefig(io.BytesIO())
    assert len(figure.axes[0].get_legend().texts) == 47


@pytest.mark.parametrize(("labels", "title"), [(51, " by class"), (1, ""), (0, "")])
def test_classes_are_labelled_if_there_are_several_and_not_too_many(labels, title):
    mu, _, std = _codes(count=500, d=3)
    y = torch.arange(500) % labels if labels else torch.full((500,), -1)
    for figure in (plot_latent_scatter(mu, y, std), plot_latent_pca(mu, y)):
        (axes,) = figure.axes
        assert axes.get_legend() is None
        assert not axes.texts
        assert axes.get_title().startswith(f"μ of 500 images{title},")
        assert len({to_hex(c) for c in axes.collections[-1].get_facecolors()}) == min(
            max(labels, 1), 10
        )


def test_pca_of_equal_codes_explains_no_variance():
    (axes,) = plot_latent_pca(torch.full((20, 3), 0.5), torch.zeros(20, dtype=torch.long)).axes
    assert axes.get_xlabel() == "principal component 1 (0% of the variance)"


def test_pca_shows_the_plane_of_largest_variance():
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator))
    turn = turn * turn.gather(1, turn.abs().argmax(1, keepdim=True)).sign()
    codes = torch.randn(500, 5, generator=generator) * torch.tensor([4.0, 2.0, 0.1, 0.1, 0.1])
    (axes,) = plot_latent_pca(7 + codes @ turn, torch.zeros(500, dtype=torch.long)).axes
    shown = _places(axes.collections[0])
    centred = codes[:, :2] - codes[:, :2].mean(0)
    torch.testing.assert_close(shown, centred, rtol=0, atol=0.6)
    assert axes.get_xlabel() == "principal component 1 (80% of the variance)"
    assert axes.get_ylabel() == "principal component 2 (20% of the variance)"


def test_the_largest_weight_of_a_principal_component_is_positive():
    line = torch.linspace(-1, 1, 50).unsqueeze(1)
    for direction in ([3.0, 1.0, 0.0], [-3.0, 1.0, 0.0], [0.5, 0.1, -4.0]):
        mu = line * torch.tensor(direction)
        largest = max(range(3), key=lambda j: abs(direction[j]))
        (axes,) = plot_latent_pca(mu, torch.zeros(50, dtype=torch.long)).axes
        across = _places(axes.collections[0])[:, 0]
        assert torch.all(across * mu[:, largest] >= 0)


def test_rates_are_sorted_and_inactive_units_are_hatched():
    rate, active = torch.tensor([0.5, 0.0, 2.0, 0.1]), torch.tensor([True, False, True, False])
    (axes,) = plot_rates(rate, active).axes
    on, off = axes.containers
    assert [bar.get_height() for bar in (*on, *off)] == pytest.approx([2.0, 0.5, 0.1, 0.0])
    assert [bar.get_center()[0] for bar in (*on, *off)] == [0, 1, 2, 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z₂", "z₀", "z₃", "z₁"]
    assert {to_hex(bar.get_facecolor()) for bar in on} == {BLUE.lower()}
    assert {bar.get_hatch() for bar in off} == {"///"}
    assert axes.get_title() == "2.60 nats per image, 2 of 4 units active"
    assert "nats per image" in axes.get_ylabel()


def test_curves_of_loss_distortion_and_rate_have_panels_of_their_own():
    panels = plot_training_curves(CURVES).axes
    assert [axes.get_title() for axes in panels] == ["loss", "distortion", "rate"]
    for axes in panels:
        train, val = axes.lines
        assert (train.get_label(), val.get_label()) == ("train", "val")
        assert val.get_xydata().tolist() == [[99, 2.0], [199, 1.5]]
    assert "nats per pixel" in panels[0].get_ylabel()
    assert {axes.get_ylabel() for axes in panels[1:]} == {"nats per image"}
    assert min(axes.get_position().width for axes in panels) > 0.3  # legible on a phone


def test_a_quantity_without_curves_has_no_panel():
    (axes,) = plot_training_curves({"val/distortion": ([1], [2.0])}).axes
    assert axes.get_title() == "distortion"
    with pytest.raises(ValueError, match="no curve"):
        plot_training_curves({"train/l1": ([1], [2.0])})
