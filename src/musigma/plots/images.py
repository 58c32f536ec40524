"""Plots of images: reconstructions, samples, interpolations, traversals, the latent plane."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from musigma.plots.style import (
    image_figure,
    image_size,
    in_columns,
    name_of,
    show_images,
    tick_of,
    viewable,
)
from workbench.plots.style import new_figure

COLUMNS = 10

TRAVERSED = 12
"""The most dimensions shown."""


def pair_rows(above: Tensor, below: Tensor, columns: int = 8) -> Tensor:
    """One image of two sets of images `[B, C, H, W]` in [0, 1], in alternating rows."""
    above, below = viewable(above), viewable(below)
    blank = above.new_zeros(-len(above) % columns, *above.shape[1:])
    rows = [torch.cat([images, blank]).split(columns) for images in (above, below)]
    pairs = torch.cat([torch.cat(pair) for pair in zip(*rows, strict=True)])
    return make_grid(pairs.clamp(0, 1), nrow=columns)


def plot_reconstructions(x: Tensor, from_mu: Tensor, from_sample: Tensor) -> Figure:
    """Originals and reconstructions from μ and from a draw of z; `[B, C, H, W]` in [0, 1] each.

    The reconstructions differ by the effect of the posterior's noise, and not for a point.
    """
    # Blocks of three rows of ten images: [R, 3, K, C, H, W].
    blocks = torch.stack([in_columns(images, COLUMNS) for images in (x, from_mu, from_sample)], 1)
    width, height = image_size(blocks.flatten(0, 1))
    figure = new_figure(width + 1.1, height + 0.2 * len(blocks) + 0.2)
    all_axes = figure.subplots(len(blocks), squeeze=False)[:, 0]
    for axes, block in zip(all_axes, blocks, strict=True):
        title = "Images and their reconstructions" if axes is all_axes[0] else ""
        show_images(axes, block, title, rows=("original", "from μ", "from a draw of z"))
    return figure


def plot_worst(x: Tensor, x_hat: Tensor, captions: Sequence[str]) -> Figure:
    """The worst-reconstructed images, above their reconstructions.

    Args:
        x: originals, `[B, C, H, W]` in [0, 1].
        x_hat: their reconstructions.
        captions: a short text under each image, such as its class and its error.
    """
    return image_figure(
        torch.stack([x, x_hat]),
        "Worst-reconstructed images",
        rows=("original", "reconstruction"),
        columns=captions,
    )


def image_grid(images: Tensor, title: str, columns: int = 10) -> Figure:
    """Images `[B, C, H, W]` in [0, 1], row by row."""
    return image_figure(in_columns(images, columns), title)


def interpolation_codes(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes on straight lines between codes `[B, d]`, ends included: `[B, steps, d]`."""
    weights = torch.linspace(0, 1, steps).to(start).unsqueeze(1)
    return start.unsqueeze(1).lerp(end.unsqueeze(1), weights)


def plot_interpolations(images: Tensor, start: Tensor, end: Tensor) -> Figure:
    """The decoded `interpolation_codes` between the μ of two images, with the images at the ends.

    Args:
        images: decoded images, `[B, K, C, H, W]` in [0, 1].
        start: originals on the left, `[B, C, H, W]`.
        end: originals on the right, `[B, C, H, W]`.
    """
    shares = [f"{share:.0%}" for share in torch.linspace(0, 1, images.shape[1]).tolist()]
    return image_figure(
        torch.cat([start.unsqueeze(1), images, end.unsqueeze(1)], 1),
        "From one image to another along a straight line of codes",
        columns=["original", *shares, "original"],
        x="position between μ of the left image and μ of the right one",
    )


def traversal_codes(center: Tensor, values: Sequence[float]) -> Tensor:
    """Copies of a code `[d]` with one dimension at a time set to each of K values: `[d, K, d]`."""
    codes = center.expand(len(center), len(values), -1).clone()
    codes.diagonal(dim1=0, dim2=2).copy_(center.new_tensor(values).unsqueeze(1))
    return codes


def plot_traversals(
    images: Tensor,
    values: Sequence[float],
    rate: Tensor | None,
    condition: str = "",
    size: Tensor | None = None,
) -> Figure:
    """The decoded `traversal_codes`, by decreasing rate, of at most twelve dimensions.

    Args:
        images: decoded images, `[d, K, C, H, W]` in [0, 1].
        values: the K values of the moved dimension, in standard deviations of the prior.
        rate: the rate of each dimension, `[d]`, in nats per image; None if unknown.
        condition: the label that the decoder was given, in words.
        size: orders the dimensions if their rates are unknown, `[d]`; by default their number does.
    """
    title = "One latent dimension at a time"
    if rate is None:
        size = -torch.arange(len(images)) if size is None else size
        order = size.argsort(descending=True, stable=True)[:TRAVERSED].tolist()
        rows = [name_of(j) for j in order]
    else:
        title += ", ordered by rate"
        order = rate.argsort(descending=True, stable=True)[:TRAVERSED].tolist()
        rows = [f"{name_of(j)}  {rate[j]:.2f} nats" for j in order]
    return image_figure(
        images[order],
        _titled(title, condition),
        rows=rows,
        columns=[tick_of(value) for value in values],
        x="value, in standard deviations of the prior",
    )


def plane_codes(n: int, codes: Tensor | None = None) -> Tensor:
    """A grid of codes, `[n, n, 2]`, at the quantiles (i + ½) / n of both dimensions.

    z₀ increases from left to right, z₁ from the bottom row to the top one, as in a plot.

    Args:
        n: the number of quantiles in each dimension.
        codes: take the quantiles of these codes, `[N, 2]`, instead of those of N(0, I).
    """
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    if codes is None:
        z = torch.special.ndtri(levels).expand(2, n)
    else:
        z = codes.double().quantile(levels, dim=0).T
    return torch.stack([z[0].expand(n, n), z[1].flip(0).unsqueeze(1).expand(n, n)], 2).float()


def plot_latent_plane(
    images: Tensor, codes: Tensor | None = None, of: str = "the prior", condition: str = ""
) -> Figure:
    """The decoded `plane_codes(n, codes)`, for d = 2.

    Args:
        images: decoded images, `[n, n, C, H, W]` in [0, 1].
        codes: the `codes` of `plane_codes`.
        of: the distribution of these codes, in words.
        condition: the label that the decoder was given, in words.
    """
    n = len(images)
    grid = plane_codes(n, codes)
    title = f"The latent plane, decoded at {n} × {n} quantiles of {of.partition(',')[0]}"
    return image_figure(
        images,
        _titled(title, condition),
        rows=[tick_of(value) for value in grid[:, 0, 1].tolist()],
        columns=[tick_of(value) for value in grid[0, :, 0].tolist()],
        x=name_of(0),
        y=name_of(1),
        gap=0,
        tile=6.5 / n,
    )


def _titled(title: str, condition: str) -> str:
    return f"{title}; {condition}" if condition else title
