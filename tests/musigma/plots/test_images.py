"""Plots made of images show the given images, in the right places."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from musigma.plots.curves import plot_class_errors
from musigma.plots.images import (
    image_grid,
    interpolation_codes,
    pair_rows,
    plane_codes,
    plot_interpolations,
    plot_latent_plane,
    plot_reconstructions,
    plot_traversals,
    plot_worst,
    traversal_codes,
)

SHAPES = pytest.mark.parametrize("shape", [(1, 6, 6), (3, 8, 5)])


def _images(*size):
    return torch.rand(*size, generator=torch.Generator().manual_seed(0))


def _shown(axes, rows, columns, gap=1):
    """The image on some axes, cut into its tiles `[R, K, C, H, W]`."""
    (picture,) = axes.images
    pixels = torch.from_numpy(picture.get_array().data.copy())
    pixels = pixels.unsqueeze(2) if pixels.ndim == 2 else pixels
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    tiles = pixels.unfold(0, height, height).unfold(1, width, width)
    assert [*picture.get_extent()] == [-0.5, columns - 0.5, rows - 0.5, -0.5]
    return tiles[..., gap : height - gap, gap : width - gap]


def _labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@SHAPES
def test_reconstructions_are_shown_below_their_images_in_blocks_of_ten(shape):
    x, from_mu, from_sample = _images(3, 13, *shape)
    first, second = plot_reconstructions(x, from_mu, from_sample).axes
    torch.testing.assert_close(
        _shown(first, 3, 10), torch.stack([x[:10], from_mu[:10], from_sample[:10]])
    )
    shown = _shown(second, 3, 10)
    torch.testing.assert_close(shown[:, :3], torch.stack([x[10:], from_mu[10:], from_sample[10:]]))
    assert torch.all(shown[:, 3:] == 1)
    assert first.get_title() == "Images and their reconstructions"
    assert _labels(second.yaxis) == ["original", "from μ", "from a draw of z"]


def test_pairs_are_shown_one_above_the_other():
    above, below = _images(2, 5, 1, 4, 4)
    picture = pair_rows(above, below, columns=3)
    assert picture.shape == (3, 4 * (4 + 2) + 2, 3 * (4 + 2) + 2)
    torch.testing.assert_close(picture[0, 2:6, 8:12], above[1, 0])
    torch.testing.assert_close(picture[0, 8:12, 8:12], below[1, 0])


def test_codes_of_the_plane_are_quantiles_of_the_prior_with_z1_rising_upwards():
    codes = plane_codes(4)
    quantiles = torch.tensor([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(Normal(0.0, 1.0).cdf(codes[0, :, 0]), quantiles)
    torch.testing.assert_close(Normal(0.0, 1.0).cdf(codes[:, 0, 1]), quantiles.flip(0))
    torch.testing.assert_close(codes[2, 1], codes[1, 1] * torch.tensor([1.0, -1.0]))


@SHAPES
def test_the_latent_plane_is_shown_with_its_coordinates(shape):
    images = _images(5, 5, *shape)
    (axes,) = plot_latent_plane(images).axes
    torch.testing.assert_close(_shown(axes, 5, 5, gap=0), images)
    assert _labels(axes.xaxis) == ["−1.3", "−0.5", "0.0", "0.5", "1.3"]
    assert _labels(axes.yaxis) == ["1.3", "0.5", "0.0", "−0.5", "−1.3"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₀", "z₁")
    assert "5 × 5 quantiles of the prior" in axes.get_title()


def test_without_a_prior_the_plane_spans_the_quantiles_of_mu():
    mu = _images(999, 2) * torch.tensor([30.0, 1.0]) + torch.tensor([-9.0, 0.0])
    codes = plane_codes(4, mu)
    for j, found in enumerate((codes[0, :, 0], codes[:, 0, 1].flip(0))):
        expected = np.quantile(mu[:, j].double().numpy(), [0.125, 0.375, 0.625, 0.875])
        assert found.tolist() == pytest.approx(expected, rel=1e-6)
    (axes,) = plot_latent_plane(_images(4, 4, 1, 6, 6), mu, "μ").axes
    assert _labels(axes.xaxis) == [f"{value:.1f}".replace("-", "−") for value in codes[0, :, 0]]
    assert "4 × 4 quantiles of μ" in axes.get_title()


def test_a_traversal_moves_one_dimension_and_keeps_the_others():
    around = torch.tensor([0.1, 0.2, 0.3])
    codes = traversal_codes(around, [-2.0, 2.0])
    assert codes.shape == (3, 2, 3)
    torch.testing.assert_close(codes[1, 0], torch.tensor([0.1, -2.0, 0.3]))
    torch.testing.assert_close(codes[2, 1], torch.tensor([0.1, 0.2, 2.0]))
    torch.testing.assert_close(around, torch.tensor([0.1, 0.2, 0.3]))


@SHAPES
def test_traversals_are_ordered_by_rate(shape):
    images = _images(3, 4, *shape)
    figure = plot_traversals(images, [-3.0, -1.0, -1e-9, 3.0], torch.tensor([0.5, 0.01, 2.0]))
    (axes,) = figure.axes
    torch.testing.assert_close(_shown(axes, 3, 4), images[[2, 0, 1]])
    assert _labels(axes.yaxis) == ["z₂  2.00 nats", "z₀  0.50 nats", "z₁  0.01 nats"]
    assert _labels(axes.xaxis) == ["−3.0", "−1.0", "0.0", "3.0"]
    assert "standard deviations of the prior" in axes.get_xlabel()


def test_traversals_show_at_most_the_twelve_dimensions_with_the_largest_rates():
    images = _images(30, 2, 1, 4, 4)
    (axes,) = plot_traversals(images, [-1.0, 1.0], torch.arange(30.0)).axes
    torch.testing.assert_close(_shown(axes, 12, 2), images.flip(0)[:12])


def test_an_interpolation_is_a_straight_line_between_its_codes():
    start, end = _images(2, 4, 3)
    codes = interpolation_codes(start, end, 5)
    torch.testing.assert_close(codes[:, 0], start)
    torch.testing.assert_close(codes[:, 4], end)
    torch.testing.assert_close(codes[:, 1], 0.75 * start + 0.25 * end)


@SHAPES
def test_interpolations_are_shown_between_their_images(shape):
    images, (start, end) = _images(2, 3, *shape), _images(2, 2, *shape)
    (axes,) = plot_interpolations(images, start, end).axes
    shown = _shown(axes, 2, 5)
    torch.testing.assert_close(shown[:, 0], start)
    torch.testing.assert_close(shown[:, 1:4], images)
    torch.testing.assert_close(shown[:, 4], end)
    assert _labels(axes.xaxis) == ["original", "0%", "50%", "100%", "original"]


@SHAPES
def test_a_grid_is_filled_row_by_row_and_padded_with_white(shape):
    images = _images(5, *shape)
    (axes,) = image_grid(images, "Samples", columns=3).axes
    shown = _shown(axes, 2, 3).flatten(0, 1)
    torch.testing.assert_close(shown[:5], images)
    assert torch.all(shown[5] == 1)
    assert axes.get_title() == "Samples"


def test_pixels_beyond_the_scale_are_clipped():
    (axes,) = image_grid(torch.tensor([-1.0, 0.5, 2.0]).reshape(3, 1, 1, 1), "").axes
    assert _shown(axes, 1, 3).flatten().tolist() == [0, 0.5, 1]
    assert axes.images[0].get_clim() == (0, 1)


@SHAPES
def test_the_worst_images_are_shown_above_their_reconstructions(shape):
    x, x_hat = _images(2, 4, *shape)
    (axes,) = plot_worst(x, x_hat, ["a", "b", "c", "d"]).axes
    torch.testing.assert_close(_shown(axes, 2, 4), torch.stack([x, x_hat]))
    assert _labels(axes.xaxis) == ["a", "b", "c", "d"]


def test_class_errors_have_error_bars():
    figure = plot_class_errors(
        torch.tensor([0.3, 0.1]),
        torch.tensor([0.02, 0.01]),
        quantity="l1 per pixel",
        classes=["cat", "dog"],
    )
    (axes,) = figure.axes
    points, _, (bars,) = axes.containers[0]
    assert points.get_ydata().tolist() == pytest.approx([0.3, 0.1])
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([0.28, 0.32]), pytest.approx([0.09, 0.11])]
    assert _labels(axes.xaxis) == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("class", "l1 per pixel")


@pytest.mark.parametrize("channels", [2, 5])
def test_images_neither_grey_nor_rgb_are_shown_by_their_first_channel(channels):
    images = _images(4, 4, channels, 6, 5)
    (axes,) = plot_latent_plane(images).axes
    torch.testing.assert_close(_shown(axes, 4, 4, gap=0), images[:, :, :1])
    assert torch.equal(pair_rows(*images[:2]), pair_rows(*images[:2, :, :1]))
