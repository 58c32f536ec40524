"""One latent dimension moved at a time."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import name_of, picture_figure, tick_of

ROWS = 12
"""The dimensions shown at the most."""


def traversal_codes(around: Tensor, values: Sequence[float]) -> Tensor:
    """The code `around`, `[d]`, with each of its dimensions at each of K values, `[d, K, d]`."""
    codes = around.expand(len(around), len(values), -1).clone()
    codes.diagonal(dim1=0, dim2=2).copy_(around.new_tensor(values).unsqueeze(1))
    return codes


def draw_traversals(images: Tensor, values: Sequence[float], rate: Tensor) -> Figure:
    """What `traversal_codes` decode to, `[d, K, C, H, W]` in [0, 1], by falling rate.

    The values are standard deviations of the prior, so for a model trained without a rate they
    mean nothing.

    Args:
        images: of all dimensions; the twelve with the largest rates are shown.
        values: of the moved dimension, K of them.
        rate: of each dimension, `[d]`, in nats per image.
    """
    order = rate.argsort(descending=True, stable=True)[:ROWS].tolist()
    return picture_figure(
        images[order],
        "One latent dimension at a time, ordered by rate",
        rows=[f"{name_of(j)}  {rate[j]:.2f} nats" for j in order],
        columns=[tick_of(value) for value in values],
        x="value, in standard deviations of the prior",
    )
