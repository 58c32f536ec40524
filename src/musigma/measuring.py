"""What a trained model is worth, in numbers."""

import math
from typing import Any, Literal, NamedTuple

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
from musigma.evaluation.reconstruction import reconstruction_errors
from musigma.loading import Run
from musigma.models import Autoencoder
from musigma.objectives import Objective
from musigma.objectives.divergences import kl_to_standard_normal
from musigma.seeding import FIXED_SEED, derive_seed, normal_noise

IMAGES_AT_ONCE = 100
ROWS = 1000
GAP_IMAGES = 50
"""So many images have their own best posterior searched for."""

Metrics = dict[str, Any]


class Encoded(NamedTuple):
    """N images and what a model says of them.

    Args:
        x: normalised images, `[N, C, H, W]`.
        y: labels, `[N]`.
        mu: posterior means, `[N, d]`.
        std: posterior standard deviations, `[N, d]`; 0 for a point posterior.
        x_hat: the mean images decoded from one draw of z each, as in every evaluation.
        log_likelihood: log p(x|z) of that draw, `[N]`, in nats.
    """

    x: Tensor
    y: Tensor
    mu: Tensor
    std: Tensor
    x_hat: Tensor
    log_likelihood: Tensor


@torch.no_grad()
def encoded(model: Autoencoder, x: Tensor, y: Tensor) -> Encoded:
    """What the model says of images `[N, C, H, W]`, with the noise of every evaluation."""
    noise = normal_noise(1, len(x), model.latent_dim, seed=FIXED_SEED)
    parts = []
    for rows, draws in zip(x.split(ROWS), noise.split(ROWS, dim=1), strict=True):
        posterior = model.encode(rows)
        output = model.decode(posterior.rsample(draws))
        log_likelihood = model.likelihood.log_prob(rows, output)[0]
        parts.append(
            (posterior.mu, posterior.std, model.likelihood.mean(output)[0], log_likelihood)
        )
    return Encoded(x, y, *map(torch.cat, zip(*parts, strict=True)))


def measure(run: Run, test: Encoded, *, images: int | None, samples: int, seed: int) -> Metrics:
    """Every measure that means something for this model.

    A figure over images is `{"mean": ..., "error": ...}`, with the standard error of the mean.

    Args:
        run: an opened run, its data prepared and set up.
        test: its test images.
        images: how many of them log p(x) is measured on, drawn by a fixed seed; None for all.
        samples: K, the importance samples for each image.
        seed: of those samples.
    """
    objective = run.objective()
    metrics: Metrics = {"test_images": len(test.x), **_reconstruction(run, test)}
    metrics["latent"] = _latent(run.model, objective, test)
    metrics["classes"] = _classes(run, test)
    if reason := why_no_log_p(run.model, objective):
        return {**metrics, "no_log_p": reason}
    order = torch.randperm(len(test.x), generator=torch.Generator().manual_seed(FIXED_SEED))
    x = test.x[order[:images].sort().values]
    return metrics | _density(run, objective, x, samples, seed)


def _reconstruction(run: Run, test: Encoded) -> Metrics:
    errors = reconstruction_errors(test.x, test.x_hat, run.data.normalization.to_unit)
    values = {**errors._asdict(), "distortion": -test.log_likelihood}
    if run.model.has_density:
        values["rate"] = kl_to_standard_normal(test.mu, test.std).sum(1)
    return {name: _mean(value) for name, value in values.items()}


def _latent(model: Autoencoder, objective: Objective, test: Encoded) -> Metrics:
    """What the codes are like: against the prior where they are held to it, else in themselves."""
    mu, std = test.mu, test.std
    figures: Metrics = {"spread": spread(mu).tolist()}
    if model.has_density:
        figures["signal_to_noise"] = signal_to_noise(mu, std).tolist()
        figures["share_of_std_at_floor"] = share_at_floor(std)
    if not objective.uses_prior:
        return figures
    moments = aggregated_posterior(mu, std)
    figures |= {
        "active_units": int(active_units(mu).sum()),
        "aggregate_mean": moments.mean.tolist(),
        "aggregate_covariance": moments.covariance.tolist(),
    }
    if model.has_density:
        generator = torch.Generator().manual_seed(FIXED_SEED)
        figures |= {
            "rate_per_dimension": rate_per_dimension(mu, std).tolist(),
            "aggregate_kl_at_least": gaussian_kl_to_prior(moments),
            "mutual_information_at_least": _mean(mutual_information(mu, std, generator=generator)),
        }
    return figures


def _classes(run: Run, test: Encoded) -> Metrics:
    """What can be read off the codes; fitted on training images, chosen on validation images."""
    train, held_out, tested = _codes(run, "train"), _codes(run, "val"), Codes(test.mu, test.y)
    if len(fitted_on(train).y.unique()) < 2:
        return {}
    clusters = cluster_agreement(train, tested)
    figures: Metrics = {"k_means": clusters._asdict()}
    if len(held_out.mu):
        figures["linear_probe"] = linear_probe(train, held_out, tested)._asdict()
        figures["nearest_neighbours"] = neighbours_probe(train, held_out, tested)._asdict()
    return figures


@torch.no_grad()
def _codes(run: Run, name: Literal["train", "val"]) -> Codes:
    """The codes of training or validation images as the data set holds them."""
    data = run.data
    loader = data.evaluation_loader("train") if name == "train" else data.val_dataloader()
    if isinstance(loader, list):  # no images are held out
        return Codes(torch.empty(0, run.model.latent_dim), torch.empty(0))
    batches = [(run.model.encode(batch.x).mu, batch.y) for batch in loader]
    return Codes(*map(torch.cat, zip(*batches, strict=True)))


def _density(run: Run, objective: Objective, x: Tensor, samples: int, seed: int) -> Metrics:
    """ELBO and log p(x) on the same images, and what lies between them."""
    model = run.model
    figures: Metrics = {"images": len(x), "samples": samples, "seed": seed}
    reason = why_no_importance_weights(model, objective)
    if reason is None:
        estimate = _importance(model, x, samples, seed)
        figures |= {
            "elbo": _mean(estimate.elbo),
            "log_p": _mean(estimate.log_p),
            "log_p_sampling_error": estimate.standard_error.square().mean().sqrt().item(),
            "effective_samples": estimate.effective_samples.median().item(),
            "share_with_k_over_0.7": (estimate.pareto_k > 0.7).double().mean().item(),
        }
    if model.latent_dim <= 2:
        exact = quadrature_estimate(model, x)
        figures |= {
            "log_p_exact": _mean(exact.log_p),
            "log_p_exact_not_converged": int((~exact.converged).sum()),
            "log_p_exact_largest_change": exact.change.max().item(),
        }
        if reason is None:
            few = x[:GAP_IMAGES]
            generator = torch.Generator().manual_seed(derive_seed(seed, len(x)))
            best = best_elbo(model, few, generator=generator)
            figures |= {
                "gap_images": len(few),
                "gap_of_family": _mean(exact.log_p[:GAP_IMAGES] - best),
                "gap_of_amortization": _mean(best - estimate.elbo[:GAP_IMAGES]),
            }
    normalization = run.data.normalization
    if normalization.pixels != "binary":
        gain = normalization.log_unit_volume() * math.prod(run.data.image_shape)
        for name in {"elbo", "log_p", "log_p_exact"} & figures.keys():
            figures[f"{name}_unit"] = {**figures[name], "mean": figures[name]["mean"] + gain}
    return figures


def _importance(model: Autoencoder, x: Tensor, samples: int, seed: int) -> ImportanceEstimate:
    batches = track(
        x.split(IMAGES_AT_ONCE),
        "importance weights",
        transient=True,
        console=Console(stderr=True),
    )
    estimates = [
        importance_estimate(
            model,
            batch,
            samples=samples,
            generator=torch.Generator().manual_seed(derive_seed(seed, number)),
        )
        for number, batch in enumerate(batches)
    ]
    return ImportanceEstimate(*map(torch.cat, zip(*estimates, strict=True)))


def _mean(values: Tensor) -> dict[str, float]:
    """The mean over images, and its standard error as an estimate for all; NaN for one image."""
    values = values.double()
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(math.nan)
    return {"mean": values.mean().item(), "error": error.item()}
