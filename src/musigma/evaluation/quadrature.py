"""log p(x) exactly, by integration over a latent space of one or two dimensions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musigma.evaluation.encoding import codes_at_once
from musigma.models import LatentVariableModel

RIM = 7 / 8
"""The share of the box's half-width beyond which there should be no mass."""
DEPTH = 15.0
"""Cells whose density is within this many nats of the largest are divided."""
RESOLVED = 0.1
"""The change of log p(x), in nats, below which the cells resolve the integrand."""
IMAGES_AT_ONCE = 50
MASS_ERROR = 1e-3
"""The largest error of the prior's own integral, which should be 1."""
MAX_CELLS = 2**18
"""The largest number of cells of the first grid."""
LOWEST = -1e300
"""Less than any log-density, and finite, so that differences are numbers."""


class QuadratureEstimate(NamedTuple):
    """Values for B images, `[B]` each.

    Args:
        log_p: log p(x), in nats.
        change: the change of `log_p` by the last halving of the cells' width, in nats.
        converged: whether the change is within the tolerance, no mass is cut off at the rim, and
            the grid resolves the prior.
        prior_mass: the integral of p(z) on the first grid, which should be 1.
    """

    log_p: Tensor
    change: Tensor
    converged: Tensor
    prior_mass: Tensor


@torch.no_grad()
def quadrature_estimate(
    model: LatentVariableModel,
    x: Tensor,
    *,
    tolerance: float = 1e-3,
    side: int = 128,
    divisions: int = 9,
) -> QuadratureEstimate:
    """Log ∫ p(x|z) p(z) dz over the box [−w, w]ᵈ of the prior by the adaptive midpoint rule.

    The first grid has `side` cells per side, or more, until the prior alone integrates to one, so
    that none of its components falls between the midpoints. If an image's integral differs on every
    second of these points, its cells are refined: those with most of the mass, their neighbours,
    and those around the encoder's mu are halved per side, and again, until log p(x) changes by less
    than the tolerance. For a smooth integrand that the cells resolve, the rule converges faster
    than any power of the cell's width (Trefethen and Weideman 2014, section 5), so the last change
    bounds the error.

    Args:
        model: in evaluation mode, with d at most 2, under one condition for all images.
        x: images, `[B, C, H, W]`, on the model's device.
        tolerance: the largest change of log p(x), in nats.
        side: cells per side of the first grid, an even number; doubled until the prior is resolved.
        divisions: the largest number of times that cells are divided.

    Raises:
        ValueError: if d is above 2, or codes are not all of ℝᵈ.
    """
    half_width = model.prior.half_width()
    if half_width is None:
        raise ValueError(f"integrals are over all of ℝᵈ, and codes are {model.prior.code_space}")
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
    mass = torch.full_like(log_p, grid.mass)
    return QuadratureEstimate(log_p, change, converged & is_one(grid.mass), mass)


def is_one(mass: float) -> bool:
    """True if the prior's integral is 1, except for an error that does not matter."""
    return abs(mass - 1) < MASS_ERROR


class _Grid(NamedTuple):
    """Equal cells, `side` per side: their midpoints `[G, d]`, log p(z) there, and its integral."""

    side: int
    half_width: float
    z: Tensor
    log_prior: Tensor
    mass: float


class _Cells(NamedTuple):
    """A list of cells of many images: index of the image, midpoint, and log p(x|z) p(z)."""

    image: Tensor
    z: Tensor
    log_joint: Tensor

    def where(self, mask: Tensor) -> "_Cells":
        return _Cells(self.image[mask], self.z[mask], self.log_joint[mask])


def _integrate(
    model: LatentVariableModel, x: Tensor, tolerance: float, grid: _Grid, divisions: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`log_p`, `change` and `converged` of a `QuadratureEstimate`, before the mass is checked."""
    d, side, half_width = model.latent_dim, grid.side, grid.half_width
    width = 2 * half_width / side
    log_joint = _log_joint_on_grid(model, x, grid)
    log_p = log_joint.logsumexp(0) + d * math.log(width)
    in_rim = (grid.z.abs() > RIM * half_width).any(1)
    log_p_in_rim = log_joint[in_rim].logsumexp(0) + d * math.log(width)
    cut_off = (log_p_in_rim - log_p).exp() >= tolerance

    coarse = log_joint.reshape(*[side] * d, -1)[(slice(None, None, 2),) * d].flatten(0, d - 1)
    change = (coarse.logsumexp(0) + d * math.log(2 * width) - log_p).abs()

    unresolved = (change >= tolerance).nonzero().squeeze(1)
    if len(unresolved) == 0:
        return log_p, change, ~cut_off
    chosen = log_joint[:, unresolved] > log_joint[:, unresolved].amax(0) - DEPTH
    chosen |= _cells_of(model.encode(x[unresolved.to(x.device)]).mu, half_width, side)
    chosen = _with_neighbours(chosen, side, d)
    column, cell = chosen.T.nonzero(as_tuple=True)
    image = unresolved[column]
    cells = _Cells(image, grid.z[cell], log_joint[cell, image])
    # The integral over cells that are divided no further.
    log_rest = log_p.clone()
    others = log_joint[:, unresolved].masked_fill(chosen, -math.inf)
    log_rest[unresolved] = others.logsumexp(0) + d * math.log(width)
    for _ in range(divisions):
        if len(cells.image) == 0:
            break
        children = _divide(model, x, cells, width)
        width /= 2
        finer = torch.logaddexp(log_rest, _log_integral(children, len(x), width))
        divided = cells.image.unique()
        change[divided] = (finer - log_p).abs()[divided]
        log_p = finer
        largest = _largest(children, len(x))
        # Once the mode is resolved, cells far below it need no division.
        matters = children.log_joint > largest[children.image] - DEPTH
        matters |= (change > RESOLVED)[children.image]
        matters &= (change >= tolerance)[children.image]
        cells = children.where(matters)
        finished = _log_integral(children.where(~matters), len(x), width)
        log_rest = torch.logaddexp(log_rest, finished)
    return log_p, change, (change < tolerance) & ~cut_off


def _grid_for(model: LatentVariableModel, x: Tensor, half_width: float, side: int) -> _Grid:
    """The first grid: the coarsest on which the prior integrates to one, or the largest allowed."""
    d = model.latent_dim
    while True:
        width = 2 * half_width / side
        axis = -half_width + width * (torch.arange(side, dtype=torch.float64) + 0.5)
        z = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        log_prior = torch.cat(
            [model.prior.log_prob(p.to(x)) for p in z.split(codes_at_once(model))]
        )
        mass = (log_prior.cpu().double().logsumexp(0) + d * math.log(width)).exp().item()
        if is_one(mass) or (2 * side) ** d > MAX_CELLS:
            return _Grid(side, half_width, z, log_prior, mass)
        side *= 2


def _log_joint_on_grid(model: LatentVariableModel, x: Tensor, grid: _Grid) -> Tensor:
    """The log of p(x|z) p(z) at all midpoints, `[G, B]`."""
    log_joint, rows = [], codes_at_once(model)
    for z, log_prior in zip(grid.z.split(rows), grid.log_prior.split(rows), strict=True):
        log_px = model.likelihood.log_prob_of_pairs(x, model.decode(z.to(x)))
        log_joint.append((log_px + log_prior.unsqueeze(1)).cpu().double())
    return torch.cat(log_joint)


def _with_neighbours(mask: Tensor, side: int, d: int) -> Tensor:
    """A mask of cells `[G, B]`, extended to all their neighbours."""
    images = mask.T.reshape(-1, 1, *[side] * d).float()
    pool = torch.nn.functional.max_pool1d if d == 1 else torch.nn.functional.max_pool2d
    return pool(images, 3, stride=1, padding=1).bool().reshape(mask.shape[1], -1).T


def _cells_of(z: Tensor, half_width: float, side: int) -> Tensor:
    """A mask `[G, B]` of the cell of each code, `[B, d]`."""
    d = z.shape[1]
    position = ((z.cpu().double() / half_width + 1) * side / 2).long().clamp(0, side - 1)
    index = position[:, 0] if d == 1 else position[:, 0] * side + position[:, 1]
    mask = torch.zeros(side**d, len(z), dtype=torch.bool)
    mask[index, torch.arange(len(z))] = True
    return mask


def _divide(model: LatentVariableModel, x: Tensor, cells: _Cells, width: float) -> _Cells:
    """The 2ᵈ children of every cell, of half its width, with their densities."""
    d = cells.z.shape[1]
    quarter = torch.tensor([-width / 4, width / 4], dtype=torch.float64)
    offsets = torch.cartesian_prod(*[quarter] * d).reshape(-1, d)
    z = (cells.z.unsqueeze(1) + offsets).reshape(-1, d)
    image = cells.image.repeat_interleave(len(offsets))
    rows = codes_at_once(model)
    log_joint = []
    for images, part in zip(image.split(rows), z.to(x).split(rows), strict=True):
        log_px = model.likelihood.log_prob(x[images.to(x.device)], model.decode(part))
        log_joint.append((log_px + model.prior.log_prob(part)).cpu().double())
    return _Cells(image, z, torch.cat(log_joint))


def _log_integral(cells: _Cells, count: int, width: float) -> Tensor:
    """The log of each image's integral over its cells of that width, `[count]`; −∞ without any."""
    largest = _largest(cells, count)
    scaled = (cells.log_joint - largest[cells.image]).exp()
    total = torch.zeros_like(largest).index_add_(0, cells.image, scaled)
    return largest + total.log() + cells.z.shape[1] * math.log(width)


def _largest(cells: _Cells, count: int) -> Tensor:
    """The largest `log_joint` of each image's cells, `[count]`; `LOWEST` without any."""
    lowest = torch.full((count,), LOWEST, dtype=torch.float64)
    return lowest.scatter_reduce_(0, cells.image, cells.log_joint, "amax")
