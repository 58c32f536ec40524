"""ELBO and log p(x) of test images, and the gap between the two."""

import math
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from musigma.evaluation import (
    ImportanceEstimate,
    QuadratureEstimate,
    draws_from_decoder,
    importance_estimate,
    quadrature_estimate,
    why_no_importance_weights,
)
from musigma.evaluation.amortization import best_elbo
from musigma.evaluation.conditions import LabelledImages
from musigma.loading import Run
from musigma.models import LatentVariableModel, NormalPosterior
from musigma.objectives import Objective
from musigma.seeding import FIXED_SEED, derive_seed, normal_noise

IMAGES_AT_ONCE = 100
GAP_IMAGES = 50
"""The number of images for which the best posterior is searched."""


def density_metrics(
    run: Run, objective: Objective, images: LabelledImages, samples: int, seed: int
) -> dict[str, Any]:
    """ELBO and log p(x) on the same images, and the parts of the gap between them."""
    model = run.model
    images = images.to(model.device)
    reason = why_no_importance_weights(model, objective)
    prior = next(iter(model.views().values())).prior
    is_integrable = (
        model.latent_dim <= 2
        and prior.half_width() is not None
        and _draws_from_decoder(model, images)
    )
    if reason and not is_integrable:
        return {"no_log_p": reason}
    metrics: dict[str, Any] = {"images": len(images.x), "samples": samples, "seed": seed}
    if reason is None:
        estimate = _importance(model, images, samples, seed)
        metrics |= {
            "elbo": mean_of(estimate.elbo),
            "log_p": mean_of(estimate.log_p),
            "log_p_sampling_error": estimate.standard_error.square().mean().sqrt().item(),
            "effective_samples": estimate.effective_samples.median().item(),
            "share_with_k_over_0.7": (estimate.pareto_k > 0.7).double().mean().item(),
            "rate_deviation": estimate.rate_deviation.mean().item(),
            "rate_deviation_error": estimate.deviation_error.norm().item() / len(images.x),
        }
    if is_integrable:
        exact = _integrals(model, images)
        metrics |= {
            "log_p_exact": mean_of(exact.log_p),
            "log_p_exact_not_converged": int((~exact.converged).sum()),
            "log_p_exact_largest_change": exact.change.max().item(),
            "log_p_exact_prior_mass": exact.prior_mass.mean().item(),
        }
        if reason is None and has_normal_posteriors(model, images):
            rows = chosen_rows(len(images.x), GAP_IMAGES)
            few = images.at(rows)
            generator = torch.Generator().manual_seed(derive_seed(seed, len(images.x)))
            best = best_elbo(model.given(few), few.x, generator=generator)
            metrics |= {
                "gap_images": len(few.x),
                "gap_of_family": mean_of(exact.log_p[rows] - best),
                "gap_of_amortization": mean_of(best - estimate.elbo[rows]),
            }
    if not model.likelihood.is_probability:  # densities also on the common [0, 1] scale
        shift = run.data.normalization.log_unit_volume() * math.prod(run.data.image_shape)
        for name in {"elbo", "log_p", "log_p_exact"} & metrics.keys():
            metrics[f"{name}_unit"] = {**metrics[name], "mean": metrics[name]["mean"] + shift}
    return metrics


def _draws_from_decoder(model: LatentVariableModel, images: LabelledImages) -> bool:
    """True unless the ELBO is of another density than the decoder's, which is integrated."""
    rows, _ = next(iter(model.groups(images)))
    few = images.at(rows[:2])
    noise = normal_noise(1, len(few.x), model.noise_dim, seed=FIXED_SEED)
    return draws_from_decoder(model.given(few), few.x, noise.to(few.x))


def _integrals(model: LatentVariableModel, images: LabelledImages) -> QuadratureEstimate:
    """Log p(x) by integration; images for which the decoder is the same share its outputs."""
    groups = list(model.groups(images))
    parts = [quadrature_estimate(given, images.at(rows).x) for rows, given in groups]
    order = torch.cat([rows for rows, _ in groups]).argsort().cpu()
    return QuadratureEstimate(*(torch.cat(part)[order] for part in zip(*parts, strict=True)))


def _importance(
    model: LatentVariableModel, images: LabelledImages, samples: int, seed: int
) -> ImportanceEstimate:
    """ELBO and log p(x) by importance weighting, with a progress bar."""
    console = Console(stderr=True)
    starts = range(0, len(images.x), IMAGES_AT_ONCE)
    batches = track(
        [images.at(slice(start, start + IMAGES_AT_ONCE)) for start in starts],
        "importance weights",
        transient=True,
        console=console,
        disable=console.is_jupyter or not console.is_terminal,
    )
    estimates = [
        importance_estimate(
            model.given(batch),
            batch.x,
            samples=samples,
            generator=torch.Generator().manual_seed(derive_seed(seed, number)),
        )
        for number, batch in enumerate(batches)
    ]
    return ImportanceEstimate(*map(torch.cat, zip(*estimates, strict=True)))


def chosen_rows(count: int, most: int | None) -> Tensor:
    """Sorted indices of `most` of `count` images, drawn because the first ones may be easier."""
    generator = torch.Generator().manual_seed(FIXED_SEED)
    return torch.randperm(count, generator=generator)[:most].sort().values


@torch.no_grad()
def has_normal_posteriors(model: LatentVariableModel, images: LabelledImages) -> bool:
    """True if the posteriors are diagonal normal distributions; one of the images is tried."""
    first = images.at(slice(1)).to(model.device)
    return isinstance(model.given(first).encode(first.x), NormalPosterior)


def mean_of(values: Tensor) -> dict[str, Any]:
    """The mean over images, its standard error, which is NaN for one image, and their number."""
    values = values.double()
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(math.nan)
    return {"mean": values.mean().item(), "error": error.item(), "images": len(values)}
