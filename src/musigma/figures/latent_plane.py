"""The latent plane, decoded."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import name_of, picture_figure, tick_of


def plane_codes(n: int, mu: Tensor | None = None) -> Tensor:
    """The quantiles (i + ½) / n in both dimensions, `[n, n, 2]`: of the prior, or of codes.

    Each of the prior stands for 1/n² of its mass. z₀ rises from left to right, z₁ from the bottom
    row to the top one, as in a plot.

    Args:
        n: how many in each dimension.
        mu: `[N, 2]`, for a model that was trained without a rate; its codes lie where they like.
    """
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    if mu is None:
        z = torch.special.ndtri(levels).expand(2, n)
    else:
        z = mu.double().quantile(levels, dim=0).T
    return torch.stack([z[0].expand(n, n), z[1].flip(0).unsqueeze(1).expand(n, n)], 2).float()


def draw_latent_plane(images: Tensor, mu: Tensor | None = None) -> Figure:
    """What `plane_codes(n, mu)` decode to, `[n, n, C, H, W]` in [0, 1], for d = 2."""
    n = len(images)
    codes = plane_codes(n, mu)
    return picture_figure(
        images,
        f"The latent plane, decoded at {n} × {n} quantiles of {'the prior' if mu is None else 'μ'}",
        rows=[tick_of(value) for value in codes[:, 0, 1].tolist()],
        columns=[tick_of(value) for value in codes[0, :, 0].tolist()],
        x=name_of(0),
        y=name_of(1),
        gap=0,
        tile=6.5 / n,
    )
