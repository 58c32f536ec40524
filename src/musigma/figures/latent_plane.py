"""The latent plane, decoded."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import name_of, picture_figure, tick_of


def plane_codes(n: int) -> Tensor:
    """The prior's quantiles (i + ½) / n in both dimensions, `[n, n, 2]`.

    Each code stands for 1/n² of the prior's mass. z₀ rises from left to right, z₁ from the bottom
    row to the top one, as in a plot.
    """
    z = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    return torch.stack([z.expand(n, n), z.flip(0).unsqueeze(1).expand(n, n)], 2)


def draw_latent_plane(images: Tensor) -> Figure:
    """What `plane_codes(n)` decode to: `[n, n, C, H, W]` in [0, 1].

    For d = 2, and for a model whose codes are held to the prior N(0, I); without a rate the codes
    of images lie elsewhere, and this shows what the model has never been trained on.
    """
    n = len(images)
    z = [tick_of(value) for value in plane_codes(n)[0, :, 0].tolist()]
    return picture_figure(
        images,
        f"The latent plane, decoded at {n} × {n} quantiles of the prior",
        rows=z[::-1],
        columns=z,
        x=name_of(0),
        y=name_of(1),
        gap=0,
        tile=6.5 / n,
    )
