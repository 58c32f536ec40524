"""log p(x) exactly, by integration over a latent space of one or two dimensions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musigma.models import Autoencoder
from musigma.objectives.divergences import log_standard_normal

POINTS_AT_ONCE = 4096
HALF_WIDTH = 8.0
"""The prior's mass beyond it is below 10⁻¹⁴."""
RIM = 7.0


class QuadratureEstimate(NamedTuple):
    """Values for B images, `[B]` each.

    Args:
        log_p: log p(x), in nats.
        change: by how much the last doubling of the grid changed it, in nats.
        converged: whether that is within the tolerance, and nothing is cut off at the rim.
        points: how many points a side the last grid had.
    """

    log_p: Tensor
    change: Tensor
    converged: Tensor
    points: Tensor


@torch.no_grad()
def quadrature_estimate(
    model: Autoencoder,
    x: Tensor,
    *,
    tolerance: float = 1e-3,
    first: int = 128,
    largest: int = 1024,
) -> QuadratureEstimate:
    """Log p(x) = log ∫ p(x|z) N(z; 0, I) dz over [−8, 8]ᵈ by the trapezoidal rule.

    The grid is doubled, for the images that need it, until log p(x) changes by less than the
    tolerance. For a smooth integrand that vanishes at the rim the rule converges faster than any
    power of the spacing (Trefethen and Weideman 2014, section 5), so the change bounds the error.

    Args:
        model: in evaluation mode, with d at most 2.
        x: images, `[B, C, H, W]`, on the model's device.
        tolerance: in nats.
        first: points a side of the first grid.
        largest: points a side of the last one.

    Raises:
        ValueError: if d is over 2.
    """
    if model.latent_dim > 2:
        raise ValueError(
            f"integrating over {model.latent_dim} latent dimensions takes too many points; "
            "use importance weights"
        )
    log_p, rim = _on_grid(model, x, first)
    change = torch.full_like(log_p, math.inf)
    points = torch.full(log_p.shape, first)
    converged = torch.zeros(log_p.shape, dtype=torch.bool)
    side = first
    while side < largest and not converged.all():
        side = min(2 * side, largest)
        left = (~converged).nonzero().squeeze(1)
        finer, rim = _on_grid(model, x[left.to(x.device)], side)
        change[left] = (finer - log_p[left]).abs()
        log_p[left], points[left] = finer, side
        cut_off = (rim - finer).exp() >= tolerance
        converged[left] = (change[left] < tolerance) & ~cut_off
    return QuadratureEstimate(log_p, change, converged, points)


def _on_grid(model: Autoencoder, x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Log p(x) on a grid of `side` points a side, and the part of it that lies at the rim."""
    axis = torch.linspace(-HALF_WIDTH, HALF_WIDTH, side, dtype=torch.float64)
    log_cell = model.latent_dim * math.log(2 * HALF_WIDTH / (side - 1))
    grid = torch.cartesian_prod(*[axis] * model.latent_dim).reshape(-1, model.latent_dim)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    rim = total.clone()
    for z in grid.split(POINTS_AT_ONCE):
        output = model.decode(z.to(x))
        log_px = model.likelihood.log_prob_of_pairs(x, output).double().cpu()
        log_joint = log_px + (log_standard_normal(z) + log_cell).unsqueeze(1)
        total = torch.logaddexp(total, log_joint.logsumexp(0))
        at_rim = (z.abs() > RIM).any(1)
        if at_rim.any():
            rim = torch.logaddexp(rim, log_joint[at_rim].logsumexp(0))
    return total, rim
