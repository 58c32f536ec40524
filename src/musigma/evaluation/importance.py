"""log p(x) by importance weighting with the encoder's posterior."""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from musigma.evaluation.encoding import codes_at_once
from musigma.evaluation.pareto import pareto_k
from musigma.models import LatentVariableModel
from musigma.objectives.divergences import log_mean_exp


class ImportanceEstimate(NamedTuple):
    """Estimates for B images, `[B]` each, in nats, from the same K draws.

    Args:
        log_p: log (1/K) Σ w, a lower bound on log p(x) in expectation that is tight as K grows.
        standard_error: the standard error of `log_p`, by the delta method: sd(w) / (√K · mean w).
        effective_samples: (Σ w)² / Σ w², between 1 and K.
        pareto_k: k̂ of the weights; above 0.7 the standard error is too small.
        elbo: E[log p(x|z)] − R, from the draws; R in closed form if there is one.
        rate_deviation: R in closed form less the mean of log q(z|x) − log p(z) over the draws.
        deviation_error: the standard error of `rate_deviation`, whose expectation is 0.
    """

    log_p: Tensor
    standard_error: Tensor
    effective_samples: Tensor
    pareto_k: Tensor
    elbo: Tensor
    rate_deviation: Tensor
    deviation_error: Tensor


@torch.no_grad()
def importance_estimate(
    model: LatentVariableModel, x: Tensor, *, samples: int, generator: Generator
) -> ImportanceEstimate:
    """Log p(x) = log E_q[p(x|z) p(z) / q(z|x)] (Burda et al. 2016, section 3).

    Args:
        model: in evaluation mode, conditioned on these images; its posterior has a density.
        x: images, `[B, C, H, W]`, on the model's device.
        samples: K, at least 25.
        generator: of the draws, on the CPU.
    """
    log_w = torch.empty(samples, len(x), dtype=torch.float64)
    rate_of_draws = torch.empty_like(log_w)  # log q(z|x) − log p(z)
    log_likelihood = torch.zeros(len(x), dtype=torch.float64)
    rates = []
    step = max(1, codes_at_once(model) // len(x))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        noise = torch.randn(count, len(x), model.noise_dim, generator=generator)
        draw = model.draw(x, noise.to(x))
        log_w[start : start + count] = draw.log_weights().cpu()
        rate_of_draws[start : start + count] = (draw.log_posterior - draw.log_prior).cpu()
        log_likelihood += draw.log_likelihood.cpu().double().sum(0)
        rates.append(count * draw.rate().cpu().double())
    rate = torch.stack(rates).sum(0) / samples
    weights = log_w.softmax(0)
    effective = 1 / weights.square().sum(0)
    return ImportanceEstimate(
        log_p=log_mean_exp(log_w),
        standard_error=(1 / effective - 1 / samples).clamp(min=0).sqrt()
        * math.sqrt(samples / (samples - 1)),
        effective_samples=effective,
        pareto_k=pareto_k(log_w),
        elbo=log_likelihood / samples - rate,
        rate_deviation=rate - rate_of_draws.mean(0),
        deviation_error=rate_of_draws.std(0) / math.sqrt(samples),
    )
