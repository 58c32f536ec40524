"""log p(x) exactly, by integration over a latent space of one or two dimensions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musigma.evaluation.encoding import codes_at_once
from musigma.models import LatentVariableModel

RIM = 7 / 8
"""The share of the box's half-width beyond which no mass should lie."""
DEPTH = 15.0
"""Cells whose density is within this many nats of the largest are divided."""
RESOLVED = 0.1
"""A change of log p(x), in nats, below which the cells are about as fine as the integrand."""
IMAGES_AT_ONCE = 50
MASS = 1e-3
"""The most by which the prior's own integral may differ from 1."""
FINEST = 2**18
"""The most cells of the first grid."""


class QuadratureEstimate(NamedTuple):
    """Values for B images, `[B]` each.

    Args:
        log_p: log p(x), in nats.
        change: by how much the last halving of the cells' width changed it, in nats.
        converged: whether that is within the tolerance, nothing is cut off at the rim, and the
            grid is fine enough for the prior itself.
    """

    log_p: Tensor
    change: Tensor
    converged: Tensor


@torch.no_grad()
def quadrature_estimate(
    model: LatentVariableModel,
    x: Tensor,
    *,
    tolerance: float = 1e-3,
    side: int = 128,
    divisions: int = 9,
) -> QuadratureEstimate:
    """∫ p(x|z) p(z) dz over the box [−w, w]ᵈ of the prior by the midpoint rule.

    A grid of `side` cells a side covers everything. It is made finer until the prior alone
    integrates to one, as components narrower than a cell would go unseen, and is compared with
    every second of its points. Where the two differ, the cells that hold the image's mass, their
    neighbours, and those around the encoder's mu are divided into halves a side, and again, until
    log p(x) changes by less than the tolerance. Where the integrand is smooth and resolved the rule
    converges faster than any power of the cell's width (Trefethen and Weideman 2014, section 5), so
    the last change bounds the error.

    Args:
        model: in evaluation mode, with d at most 2, for which all images decode alike.
        x: images, `[B, C, H, W]`, on the model's device.
        tolerance: in nats.
        side: cells a side of the first grid, an even number; more where the prior needs them.
        divisions: how often cells are divided at the most.

    Raises:
        ValueError: if d is over 2, or codes are no continuum.
    """
    half_width = model.prior.half_width()
    if half_width is None:
        raise ValueError("codes out of a book are summed over, and not integrated")
    if model.latent_dim > 2:
        raise ValueError(
            f"integrating over {model.latent_dim} latent dimensions takes too many points; "
            "use importance weights"
        )
    grid = _grid_for(model, x, half_width, side)
    parts = [
        _integrate(model, images, tolerance, grid, divisions) for images in x.split(IMAGES_AT_ONCE)
    ]
    log_p, change, converged = map(torch.cat, zip(*parts, strict=True))
    return QuadratureEstimate(log_p, change, converged & grid.is_resolved)


class _Grid(NamedTuple):
    """Equal cells, `side` a side: their midpoints `[G, d]` and log p(z) there, `[G]`."""

    side: int
    half_width: float
    z: Tensor
    log_prior: Tensor
    is_resolved: bool


class _Cells(NamedTuple):
    """Cells of many images in one list: whose each is, its midpoint, and its log density."""

    image: Tensor
    z: Tensor
    log_joint: Tensor

    def where(self, mask: Tensor) -> "_Cells":
        return _Cells(self.image[mask], self.z[mask], self.log_joint[mask])


def _integrate(
    model: LatentVariableModel, x: Tensor, tolerance: float, on: _Grid, divisions: int
) -> QuadratureEstimate:
    d, side, half_width, grid = model.latent_dim, on.side, on.half_width, on.z
    width = 2 * half_width / side
    density = _on_grid(model, x, on)
    log_p = density.logsumexp(0) + d * math.log(width)
    at_rim = density[(grid.abs() > RIM * half_width).any(1)].logsumexp(0) + d * math.log(width)
    cut_off = (at_rim - log_p).exp() >= tolerance

    every_second = density.reshape(*[side] * d, -1)[(slice(None, None, 2),) * d].flatten(0, d - 1)
    change = (every_second.logsumexp(0) + d * math.log(2 * width) - log_p).abs()

    left = (change >= tolerance).nonzero().squeeze(1)
    if len(left) == 0:
        return QuadratureEstimate(log_p, change, ~cut_off)
    chosen = density[:, left] > density[:, left].amax(0) - DEPTH
    chosen |= _holds(model.encode(x[left.to(x.device)]).mu, half_width, side)
    column, place = _spread(chosen, side, d).T.nonzero(as_tuple=True)
    cells = _Cells(left[column], grid[place], density[place, left[column]])
    for _ in range(divisions):
        if len(cells.image) == 0:
            break
        children = _divide(model, x, cells, width)
        width /= 2
        # The parents' share is replaced by the children's.
        removed = _sum_by_image(cells, log_p) * (2 * width) ** d
        added = _sum_by_image(children, log_p) * width**d
        finer = log_p + (1 - removed + added).clamp(min=1e-300).log()
        divided = cells.image.unique()
        change[divided] = (finer - log_p).abs()[divided]
        log_p = finer
        largest = torch.full_like(log_p, -math.inf)
        largest.scatter_reduce_(0, children.image, children.log_joint, "amax")
        # Once the mode is resolved, cells far below it need no division.
        matters = children.log_joint > largest[children.image] - DEPTH
        matters |= (change > RESOLVED)[children.image]
        cells = children.where((change >= tolerance)[children.image] & matters)
    return QuadratureEstimate(log_p, change, (change < tolerance) & ~cut_off)


def _grid_for(model: LatentVariableModel, x: Tensor, half_width: float, side: int) -> _Grid:
    """Cells over which the prior integrates to one, or as many as there may be."""
    d = model.latent_dim
    while True:
        width = 2 * half_width / side
        axis = -half_width + width * (torch.arange(side, dtype=torch.float64) + 0.5)
        z = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        log_prior = torch.cat(
            [model.prior.log_prob(p.to(x)) for p in z.split(codes_at_once(model))]
        )
        mass = (log_prior.cpu().double().logsumexp(0) + d * math.log(width)).exp().item()
        is_resolved = abs(mass - 1) < MASS
        if is_resolved or (2 * side) ** d > FINEST:
            return _Grid(side, half_width, z, log_prior, is_resolved)
        side *= 2


def _on_grid(model: LatentVariableModel, x: Tensor, on: _Grid) -> Tensor:
    """The log of p(x|z) p(z) at all midpoints, `[G, B]`."""
    log_joint, rows = [], codes_at_once(model)
    for z, log_prior in zip(on.z.split(rows), on.log_prior.split(rows), strict=True):
        log_px = model.likelihood.log_prob_of_pairs(x, model.decode(z.to(x)))
        log_joint.append((log_px + log_prior.unsqueeze(1)).cpu().double())
    return torch.cat(log_joint)


def _spread(mask: Tensor, side: int, d: int) -> Tensor:
    """A mask of cells `[G, B]`, and of all their neighbours."""
    images = mask.T.reshape(-1, 1, *[side] * d).float()
    pool = torch.nn.functional.max_pool1d if d == 1 else torch.nn.functional.max_pool2d
    return pool(images, 3, stride=1, padding=1).bool().reshape(mask.shape[1], -1).T


def _holds(z: Tensor, half_width: float, side: int) -> Tensor:
    """A mask `[G, B]` of the cell that each of the codes `[B, d]` lies in."""
    d = z.shape[1]
    place = ((z.cpu().double() / half_width + 1) * side / 2).long().clamp(0, side - 1)
    index = place[:, 0] if d == 1 else place[:, 0] * side + place[:, 1]
    mask = torch.zeros(side**d, len(z), dtype=torch.bool)
    mask[index, torch.arange(len(z))] = True
    return mask


def _divide(model: LatentVariableModel, x: Tensor, cells: _Cells, width: float) -> _Cells:
    """The 2ᵈ halves-a-side of every cell, with their densities."""
    d = cells.z.shape[1]
    quarter = torch.tensor([-width / 4, width / 4], dtype=torch.float64)
    offsets = torch.cartesian_prod(*[quarter] * d).reshape(-1, d)
    z = (cells.z.unsqueeze(1) + offsets).reshape(-1, d)
    image = cells.image.repeat_interleave(len(offsets))
    rows = codes_at_once(model)
    log_joint = []
    for places, part in zip(image.split(rows), z.to(x).split(rows), strict=True):
        log_px = model.likelihood.log_prob(x[places.to(x.device)], model.decode(part))
        log_joint.append((log_px + model.prior.log_prob(part)).cpu().double())
    return _Cells(image, z, torch.cat(log_joint))


def _sum_by_image(cells: _Cells, log_scale: Tensor) -> Tensor:
    """Σ exp(log_joint − log_scale) of each image's cells, `[B]`."""
    scaled = (cells.log_joint - log_scale[cells.image]).exp()
    return torch.zeros_like(log_scale).index_add_(0, cells.image, scaled)
