"""Ways from one image to another through the latent space."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from musigma.figures.style import picture_figure


def interpolation_codes(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Straight lines between codes `[B, d]` in even steps, both ends included: `[B, steps, d]`."""
    weights = torch.linspace(0, 1, steps).to(start).unsqueeze(1)
    return start.unsqueeze(1).lerp(end.unsqueeze(1), weights)


def draw_interpolations(images: Tensor, start: Tensor, end: Tensor) -> Figure:
    """What `interpolation_codes` decode to, between the images whose μ are the ends.

    Args:
        images: decoded, `[B, K, C, H, W]` in [0, 1].
        start: originals, `[B, C, H, W]`.
        end: originals, `[B, C, H, W]`.
    """
    shares = [f"{share:.0%}" for share in torch.linspace(0, 1, images.shape[1]).tolist()]
    return picture_figure(
        torch.cat([start.unsqueeze(1), images, end.unsqueeze(1)], 1),
        "From one image to another along a straight line of codes",
        columns=["original", *shares, "original"],
        x="share of the way from μ of the left image to μ of the right one",
    )
