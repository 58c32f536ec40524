"""Images side by side: reconstructions, samples, and ways through the latent space."""

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
"""The dimensions shown at the most."""


def pair_rows(above: Tensor, below: Tensor, columns: int = 8) -> Tensor:
    """Two sets of images `[B, C, H, W]` in [0, 1] → one image, rows of the two in turn."""
    above, below = viewable(above), viewable(below)
    blank = above.new_zeros(-len(above) % columns, *above.shape[1:])
    rows = [torch.cat([images, blank]).split(columns) for images in (above, below)]
    pairs = torch.cat([torch.cat(pair) for pair in zip(*rows, strict=True)])
    return make_grid(pairs.clamp(0, 1), nrow=columns)


def plot_reconstructions(x: Tensor, from_mu: Tensor, from_sample: Tensor) -> Figure:
    """Originals, and what is decoded of μ and of one draw of z; `[B, C, H, W]` in [0, 1] each.

    The two differ by what the posterior's noise costs; for a point posterior they are the same.
    """
    # Ten images a block, and three rows in each: [R, 3, K, C, H, W].
    blocks = torch.stack([in_columns(images, COLUMNS) for images in (x, from_mu, from_sample)], 1)
    width, height = image_size(blocks.flatten(0, 1))
    figure = new_figure(width + 1.1, height + 0.2 * len(blocks) + 0.2)
    all_axes = figure.subplots(len(blocks), squeeze=False)[:, 0]
    for axes, block in zip(all_axes, blocks, strict=True):
        title = "Images and their reconstructions" if axes is all_axes[0] else ""
        show_images(axes, block, title, rows=("original", "from μ", "from a draw of z"))
    return figure


def plot_worst(x: Tensor, x_hat: Tensor, captions: Sequence[str]) -> Figure:
    """The images that are reconstructed worst, above their reconstructions.

    Args:
        x: originals, `[B, C, H, W]` in [0, 1].
        x_hat: their reconstructions.
        captions: a few words under each of them, such as its class and its error.
    """
    return image_figure(
        torch.stack([x, x_hat]),
        "Worst-reconstructed images",
        rows=("original", "reconstruction"),
        columns=captions,
    )


def image_grid(images: Tensor, title: str, columns: int = 10) -> Figure:
    """Images `[B, C, H, W]` in [0, 1], row by row.

    Decoded draws from the prior mean nothing for a model that was trained without a rate.
    """
    return image_figure(in_columns(images, columns), title)


def interpolation_codes(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Straight lines between codes `[B, d]` in even steps, both ends included: `[B, steps, d]`."""
    weights = torch.linspace(0, 1, steps).to(start).unsqueeze(1)
    return start.unsqueeze(1).lerp(end.unsqueeze(1), weights)


def plot_interpolations(images: Tensor, start: Tensor, end: Tensor) -> Figure:
    """The decoded `interpolation_codes`, between the images whose μ are the ends.

    Args:
        images: decoded, `[B, K, C, H, W]` in [0, 1].
        start: originals, `[B, C, H, W]`.
        end: originals, `[B, C, H, W]`.
    """
    shares = [f"{share:.0%}" for share in torch.linspace(0, 1, images.shape[1]).tolist()]
    return image_figure(
        torch.cat([start.unsqueeze(1), images, end.unsqueeze(1)], 1),
        "From one image to another along a straight line of codes",
        columns=["original", *shares, "original"],
        x="share of the way from μ of the left image to μ of the right one",
    )


def traversal_codes(around: Tensor, values: Sequence[float]) -> Tensor:
    """The code `around`, `[d]`, with each of its dimensions at each of K values, `[d, K, d]`."""
    codes = around.expand(len(around), len(values), -1).clone()
    codes.diagonal(dim1=0, dim2=2).copy_(around.new_tensor(values).unsqueeze(1))
    return codes


def plot_traversals(
    images: Tensor,
    values: Sequence[float],
    rate: Tensor | None,
    told: str = "",
    size: Tensor | None = None,
) -> Figure:
    """The decoded `traversal_codes`, `[d, K, C, H, W]` in [0, 1], by falling rate.

    The values are standard deviations of the prior, so for a model trained without a rate they
    mean nothing.

    Args:
        images: of all dimensions; the twelve with the largest rates are shown.
        values: of the moved dimension, K of them.
        rate: of each dimension, `[d]`, in nats per image; without it those with the largest `size`
            are shown, and else the first twelve.
        told: what the decoder was told, in words.
        size: of each dimension in another way, `[d]`.
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
        _titled(title, told),
        rows=rows,
        columns=[tick_of(value) for value in values],
        x="value, in standard deviations of the prior",
    )


def plane_codes(n: int, codes: Tensor | None = None) -> Tensor:
    """The quantiles (i + ½) / n in both dimensions, `[n, n, 2]`: of N(0, I), or of codes.

    Each of the prior stands for 1/n² of its mass. z₀ rises from left to right, z₁ from the bottom
    row to the top one, as in a plot.

    Args:
        n: how many in each dimension.
        codes: `[N, 2]`, where another prior holds them, or none.
    """
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    if codes is None:
        z = torch.special.ndtri(levels).expand(2, n)
    else:
        z = codes.double().quantile(levels, dim=0).T
    return torch.stack([z[0].expand(n, n), z[1].flip(0).unsqueeze(1).expand(n, n)], 2).float()


def plot_latent_plane(
    images: Tensor, codes: Tensor | None = None, of: str = "the prior", told: str = ""
) -> Figure:
    """The decoded `plane_codes(n, codes)`, `[n, n, C, H, W]` in [0, 1], for d = 2.

    Args:
        images: decoded.
        codes: at whose quantiles.
        of: what they are.
        told: what the decoder was told, in words.
    """
    n = len(images)
    places = plane_codes(n, codes)
    title = f"The latent plane, decoded at {n} × {n} quantiles of {of.partition(',')[0]}"
    return image_figure(
        images,
        _titled(title, told),
        rows=[tick_of(value) for value in places[:, 0, 1].tolist()],
        columns=[tick_of(value) for value in places[0, :, 0].tolist()],
        x=name_of(0),
        y=name_of(1),
        gap=0,
        tile=6.5 / n,
    )


def _titled(title: str, told: str) -> str:
    return f"{title}; {told}" if told else title
