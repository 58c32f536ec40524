"""The metrics of a trained model on test images."""

import math
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from musigma.evaluation import (
    ImportanceEstimate,
    importance_estimate,
    quadrature_estimate,
    why_no_importance_weights,
    why_no_log_p,
)
from musigma.evaluation.amortization import best_elbo
from musigma.evaluation.encoding import Encoded
from musigma.evaluation.latent import (
    active_units,
    aggregated_posterior,
    gaussian_kl_to_prior,
    mutual_information,
    rate_per_dimension,
    share_at_floor,
    signal_to_noise,
    spread,
)
from musigma.evaluation.probes import (
    Codes,
    cluster_agreement,
    fitted_on,
    linear_probe,
    neighbours_probe,
)
from musigma.loading import Run
from musigma.models import Autoencoder
from musigma.objectives import Objective
from musigma.objectives.divergences import kl_to_standard_normal
from musigma.seeding import FIXED_SEED, derive_seed

IMAGES_AT_ONCE = 100
GAP_IMAGES = 50
"""The images whose own best posterior is searched for."""

Metrics = dict[str, Any]


def measure(run: Run, test: Encoded, *, images: int | None, samples: int, seed: int) -> Metrics:
    """All metrics that mean something for this model.

    A metric over images is `{"mean": ..., "error": ...}`, with the standard error of the mean.

    Args:
        run: an opened run, its data prepared and set up.
        test: its test images.
        images: those of them for log p(x), chosen by a fixed seed; None for all.
        samples: K, the importance samples for each image.
        seed: of those samples.
    """
    objective = run.objective()
    metrics: Metrics = {"test_images": len(test.y), **_reconstruction(run, test)}
    metrics["latent"] = _latent(run.model, objective, test)
    metrics["classes"] = _classes(run, test)
    if reason := why_no_log_p(run.model, objective):
        return {**metrics, "no_log_p": reason}
    order = torch.randperm(len(test.y), generator=_generator(FIXED_SEED))
    x = test.x[order[:images].sort().values]
    return metrics | _density(run, objective, x, samples, seed)


def _reconstruction(run: Run, test: Encoded) -> Metrics:
    values = {**test.errors._asdict(), "distortion": -test.log_likelihood}
    if run.model.has_density:
        values["rate"] = kl_to_standard_normal(test.mu, test.std).sum(1)
    return {name: _mean(value) for name, value in values.items()}


def _latent(model: Autoencoder, objective: Objective, test: Encoded) -> Metrics:
    """Properties of the codes: against the prior if they are held to it, else in themselves."""
    mu, std = test.mu, test.std
    metrics: Metrics = {"spread": spread(mu).tolist()}
    if model.has_density:
        metrics["signal_to_noise"] = signal_to_noise(mu, std).tolist()
        metrics["share_of_std_at_floor"] = share_at_floor(std)
    if not objective.uses_prior:
        return metrics
    moments = aggregated_posterior(mu, std)
    metrics |= {
        "active_units": int(active_units(mu).sum()),
        "aggregate_mean": moments.mean.tolist(),
        "aggregate_covariance": moments.covariance.tolist(),
    }
    if model.has_density:
        information = mutual_information(mu, std, generator=_generator(FIXED_SEED))
        metrics |= {
            "rate_per_dimension": rate_per_dimension(mu, std).tolist(),
            "aggregate_kl_at_least": gaussian_kl_to_prior(moments),
            "mutual_information_at_least": _mean(information),
        }
    return metrics


def _classes(run: Run, test: Encoded) -> Metrics:
    """Probes and clusters of the codes, fitted on training and chosen on validation images."""
    train, held_out, tested = _codes(run, "train"), _codes(run, "val"), Codes(test.mu, test.y)
    if len(fitted_on(train).y.unique()) < 2:
        return {}
    clusters = cluster_agreement(train, tested)
    metrics: Metrics = {"k_means": clusters._asdict()}
    if len(held_out.mu):
        metrics["linear_probe"] = linear_probe(train, held_out, tested)._asdict()
        metrics["nearest_neighbours"] = neighbours_probe(train, held_out, tested)._asdict()
    return metrics


@torch.no_grad()
def _codes(run: Run, name: Literal["train", "val"]) -> Codes:
    """The codes of training or validation images as the data set holds them."""
    data = run.data
    loader = data.evaluation_loader(name)
    if isinstance(loader, list):  # no images are held out
        return Codes(torch.empty(0, run.model.latent_dim), torch.empty(0))
    device = run.model.device
    batches = [(run.model.encode(batch.x.to(device)).mu.cpu(), batch.y) for batch in loader]
    return Codes(*map(torch.cat, zip(*batches, strict=True)))


def _density(run: Run, objective: Objective, x: Tensor, samples: int, seed: int) -> Metrics:
    """ELBO and log p(x) on the same images, and the gap between them."""
    model, x = run.model, x.to(run.model.device)
    metrics: Metrics = {"images": len(x), "samples": samples, "seed": seed}
    reason = why_no_importance_weights(model, objective)
    if reason is None:
        estimate = _importance(model, x, samples, seed)
        metrics |= {
            "elbo": _mean(estimate.elbo),
            "log_p": _mean(estimate.log_p),
            "log_p_sampling_error": estimate.standard_error.square().mean().sqrt().item(),
            "effective_samples": estimate.effective_samples.median().item(),
            "share_with_k_over_0.7": (estimate.pareto_k > 0.7).double().mean().item(),
        }
    if model.latent_dim <= 2:
        exact = quadrature_estimate(model, x)
        metrics |= {
            "log_p_exact": _mean(exact.log_p),
            "log_p_exact_not_converged": int((~exact.converged).sum()),
            "log_p_exact_largest_change": exact.change.max().item(),
        }
        if reason is None:
            few = x[:GAP_IMAGES]
            best = best_elbo(model, few, generator=_generator(derive_seed(seed, len(x))))
            metrics |= {
                "gap_images": len(few),
                "gap_of_family": _mean(exact.log_p[:GAP_IMAGES] - best),
                "gap_of_amortization": _mean(best - estimate.elbo[:GAP_IMAGES]),
            }
    normalization = run.data.normalization
    if normalization.pixels != "binary":
        gain = normalization.log_unit_volume() * math.prod(run.data.image_shape)
        for name in {"elbo", "log_p", "log_p_exact"} & metrics.keys():
            metrics[f"{name}_unit"] = {**metrics[name], "mean": metrics[name]["mean"] + gain}
    return metrics


def _importance(model: Autoencoder, x: Tensor, samples: int, seed: int) -> ImportanceEstimate:
    console = Console(stderr=True)
    chunks = x.split(IMAGES_AT_ONCE)
    batches = track(
        chunks,
        "importance weights",
        transient=True,
        console=console,
        disable=console.is_jupyter or not console.is_terminal,
    )
    estimates = [
        importance_estimate(
            model, batch, samples=samples, generator=_generator(derive_seed(seed, number))
        )
        for number, batch in enumerate(batches)
    ]
    return ImportanceEstimate(*map(torch.cat, zip(*estimates, strict=True)))


def _mean(values: Tensor) -> dict[str, float]:
    """The mean over images, and its standard error as an estimate for all; NaN for one image."""
    values = values.double()
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(math.nan)
    return {"mean": values.mean().item(), "error": error.item()}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
