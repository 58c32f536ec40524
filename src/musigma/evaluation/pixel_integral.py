"""The integral of a likelihood over an image of one pixel, which is 1 for a density."""

import copy
import math

import torch
from torch import Tensor

from musigma.objectives.likelihoods import Likelihood
from musigma.seeding import FIXED_SEED, normal_noise

CLOSEST, FARTHEST = 1e-3, 1e6
"""The scales of the distances from the mean at which real pixels are tried."""

LARGEST_LOGIT = 36.0
"""The logit of the largest number below 1."""


def pixel_integral(likelihood: Likelihood, points: int) -> float | None:
    """The integral, or sum, of p(x|z) over an image of one pixel, for one output of a decoder.

    It is taken over the real numbers, [0, 1] or {0, 1}, whichever of them `pixels` has first, by
    the trapezoidal rule in asinh(x − mean) or in the logit of x.

    Args:
        likelihood: it is tried in float64, as in evaluation.
        points: the number of points of the rule.

    Returns:
        The integral; None if the likelihood takes no images of one pixel, or gives NaN.
    """
    tried = copy.deepcopy(likelihood).cpu().eval().double()
    try:
        shape = tried.output_shape((1, 1, 1))
        noise = normal_noise(math.prod(shape), seed=FIXED_SEED).double()
        output = noise.reshape(1, *shape) / 2
        x, log_widths = _points(tried, tried.mean(output).flatten(), points)
        log_p = tried.log_prob(x.reshape(-1, 1, 1, 1), output.expand(len(x), *shape))
    except Exception:  # of the user's code, which need not foresee such images
        return None
    if log_p.shape != x.shape or log_p.isnan().any():
        return None
    return (log_p + log_widths).exp().sum().item()


def _points(likelihood: Likelihood, mean: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Pixels, and the logarithms of their weights."""
    if "real" in likelihood.pixels:
        end = math.asinh(FARTHEST / CLOSEST)
        t = torch.linspace(-end, end, points, dtype=torch.float64)
        x, slope = mean + CLOSEST * t.sinh(), CLOSEST * t.cosh()
    elif "unit" in likelihood.pixels:
        t = torch.linspace(-LARGEST_LOGIT, LARGEST_LOGIT, points, dtype=torch.float64)
        x, slope = t.sigmoid(), t.sigmoid() * (-t).sigmoid()
    else:
        return torch.tensor([0.0, 1.0], dtype=torch.float64), torch.zeros(2)
    return x, (slope * (t[1] - t[0])).log()
