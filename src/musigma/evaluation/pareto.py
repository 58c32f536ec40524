"""k̂, a diagnostic of importance weights: the shape of their tail."""

import math

import torch
from torch import Tensor


def pareto_k(log_weights: Tensor) -> Tensor:
    """k̂, the shape of a generalised Pareto fitted to the largest weights, `[K, B]` → `[B]`.

    Below 0.7 the estimate is reliable; above 1 the weights have no finite mean. The tail is the
    largest min(K/5, 3√K) weights; the fit is that of Zhang and Stephens 2009, shrunk towards ½ with
    the weight of ten observations (Vehtari et al. 2024).

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
    """The posterior mean of Zhang and Stephens 2009; `excess` is ascending, `[n, B]`."""
    n = len(excess)
    m = 30 + int(math.sqrt(n))
    i = torch.arange(1, m + 1, dtype=excess.dtype).unsqueeze(1)
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - (m / (i - 0.5)).sqrt()) / (3 * quartile)  # [m, B]
    shape = torch.log1p(-theta.unsqueeze(1) * excess).mean(1)  # [m, B]
    log_profile = n * ((-theta / shape).log() - shape - 1)
    mean_theta = (theta * log_profile.softmax(0)).sum(0)
    return torch.log1p(-mean_theta * excess).mean(0)
