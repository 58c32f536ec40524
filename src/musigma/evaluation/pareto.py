"""The health of importance weights: the shape of their tail."""

import math

import torch
from torch import Tensor


def pareto_k(log_weights: Tensor) -> Tensor:
    """k̂, the shape of a generalised Pareto fitted to the largest weights, `[K, B]` → `[B]`.

    Below 0.7 the estimate can be trusted; above 1 the weights have no mean to estimate. The tail
    is the largest min(K/5, 3√K) weights, the fit that of Zhang and Stephens 2009, drawn a little
    towards ½ as ten more observations would (Vehtari et al. 2024).

    Raises:
        ValueError: if K is below 25, too few for a tail.
    """
    count = len(log_weights)
    if count < 25:
        raise ValueError(f"k̂ needs at least 25 weights, got {count}")
    tail = min(count // 5, math.ceil(3 * math.sqrt(count)))
    largest = log_weights.double().topk(tail + 1, dim=0).values.flip(0)
    scaled = (largest - largest[-1]).exp()
    excess = (scaled[1:] - scaled[0]).clamp(min=1e-300)  # ascending, [tail, B]
    shape = _fit_shape(excess)
    return (tail * shape + 10 * 0.5) / (tail + 10)


def _fit_shape(excess: Tensor) -> Tensor:
    """The posterior mean of Zhang and Stephens 2009; `excess` ascends, `[n, B]`."""
    n = len(excess)
    candidates = 30 + int(math.sqrt(n))
    place = torch.arange(1, candidates + 1, dtype=excess.dtype).unsqueeze(1) - 0.5
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - (candidates / place).sqrt()) / (3 * quartile)  # [m, B]
    shape = torch.log1p(-theta.unsqueeze(1) * excess).mean(1)  # [m, B]
    profile = n * ((-theta / shape).log() - shape - 1)
    weights = profile.softmax(0)
    best = (theta * weights).sum(0)
    return torch.log1p(-best * excess).mean(0)
