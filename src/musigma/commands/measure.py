"""Measure a trained model on test images."""

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
    why_no_log_p,
)
from musigma.evaluation.amortization import best_elbo
from musigma.evaluation.encoding import Encoded, LabelledImages
from musigma.evaluation.latent import (
    active_units,
    aggregated_posterior,
    gaussian_kl_to_prior,
    mutual_information,
    share_at_floor,
    signal_to_noise,
    spread,
)
from musigma.evaluation.probes import (
    Codes,
    cluster_agreement,
    fitting_subset,
    labelled,
    linear_probe,
    neighbours_probe,
)
from musigma.loading import Run
from musigma.models import LatentVariableModel, NormalPosterior
from musigma.objectives import Objective
from musigma.seeding import FIXED_SEED, derive_seed, normal_noise
from musigma.words import NATS

IMAGES_AT_ONCE = 100
GAP_IMAGES = 50
"""The number of images for which the best posterior is searched."""

NOT_NORMAL = (
    "I(x; z), the covariance of q(z), its distance from the prior and the parts of the gap between "
    "log p(x) and the ELBO, because these are computed from diagonal normal posteriors"
)

Metrics = dict[str, Any]


def measure(run: Run, test: Encoded, *, images: int | None, samples: int, seed: int) -> Metrics:
    """All metrics that mean something for a run's model.

    A metric over images is `{"mean": ..., "error": ...}`, with the standard error of the mean.

    Args:
        run: an opened run, its data prepared and set up.
        test: its encoded test images.
        images: the number of test images for log p(x), chosen by a fixed seed; None for all.
        samples: K, the importance samples for each image.
        seed: the seed of the importance samples.
    """
    objective = run.objective()
    metrics: Metrics = {
        "evidence": run.model.evidence,
        "test_images": len(test.y),
        **_reconstruction(run, objective, test),
        "latent": _latent(run.model, objective, test),
        **_classes(run, test),
    }
    if reason := why_no_log_p(run.model, objective):
        return {**metrics, "no_log_p": reason}
    rows = _chosen(len(test.y), images)
    return metrics | _density(
        run, objective, LabelledImages(test.x[rows], test.y[rows]), samples, seed
    )


def _reconstruction(run: Run, objective: Objective, test: Encoded) -> Metrics:
    """Reconstruction errors, D, R and the model's own terms."""
    values = {**test.errors._asdict(), "distortion": -test.log_likelihood}
    if test.rate is not None:
        values["rate"] = test.rate
        is_one_draw = run.model.is_deterministic or not run.model.prior.has_density
        if is_one_draw and not why_no_log_p(run.model, objective):
            values["elbo"] = test.log_likelihood - test.rate
    units = {name: meaning.unit for name, meaning in run.model.meanings.items()}
    own = {n: {**_mean(value), "unit": units.get(n, NATS)} for n, value in test.own.items()}
    return {name: _mean(value) for name, value in values.items()} | own


def _latent(model: LatentVariableModel, objective: Objective, test: Encoded) -> Metrics:
    """Statistics of the codes; those that compare with the prior only if the loss has a rate."""
    mu, std = test.mu, test.std
    own = model.latent_metrics(mu.to(model.device))
    metrics: Metrics = {"spread": spread(mu).tolist(), **own, "of_model": [*own]}
    if model.has_density and not model.is_deterministic:
        metrics["signal_to_noise"] = signal_to_noise(mu, std).tolist()
        metrics["share_of_std_at_floor"] = share_at_floor(std)
    if not objective.uses_prior:
        return metrics
    moments, priors = aggregated_posterior(mu, std), [v.prior for v in model.views().values()]
    active = active_units(mu, torch.stack([prior.std() for prior in priors]).mean(0))
    metrics |= {"active_units": int(active.sum()), "aggregate_mean": moments.mean.tolist()}
    if len(model.latent_dims) > 1:
        layers = active.split(model.latent_dims)
        metrics["active_units_by_layer"] = [int(layer.sum()) for layer in layers]
    if test.rates is not None:
        metrics["rate_per_dimension"] = test.rates.double().mean(0).tolist()
    is_normal = _is_normal(model, LabelledImages(test.x[:1], test.y[:1]))
    if model.has_density and not (is_normal or model.is_deterministic):
        return {**metrics, "for_normal_posteriors": NOT_NORMAL}
    metrics["aggregate_covariance"] = moments.covariance.tolist()
    is_standard_normal = all(prior.is_standard_normal for prior in priors)
    if is_standard_normal and model.has_density and not model.is_deterministic:
        metrics["aggregate_kl_at_least"] = gaussian_kl_to_prior(moments)
    if is_normal:
        information = mutual_information(mu, std, generator=_generator(FIXED_SEED))
        metrics["mutual_information_at_least"] = _mean(information)
    return metrics


@torch.no_grad()
def _is_normal(model: LatentVariableModel, images: LabelledImages) -> bool:
    """True if the posteriors are diagonal normal distributions."""
    first = LabelledImages(*(part[:1].to(model.device) for part in images))
    return isinstance(model.given(first).encode(first.x), NormalPosterior)


def _classes(run: Run, test: Encoded) -> Metrics:
    """Probes and clusters of the codes, fitted on training images, tuned on validation images.

    Without meaningful ones `classes` is empty, and `no_classes` is the reason.
    """
    if "y" in run.model.conditioned_on:
        reason = "the model is conditioned on the classes, so its codes need not contain them"
        return {"classes": {}, "no_classes": reason}
    train, held_out = (labelled(Codes(*run.codes(name))) for name in ("train", "val"))
    tested = labelled(Codes(test.mu, test.y))
    if len(fitting_subset(train).y.unique()) < 2:
        return {"classes": {}, "no_classes": "the training images have fewer than two classes"}
    if not len(tested.y):
        return {"classes": {}, "no_classes": "the test images have no classes"}
    clusters = cluster_agreement(train, tested)
    metrics: Metrics = {"k_means": clusters._asdict()}
    if len(held_out.mu):
        metrics["linear_probe"] = linear_probe(train, held_out, tested)._asdict()
        metrics["nearest_neighbours"] = neighbours_probe(train, held_out, tested)._asdict()
    return {"classes": metrics}


def _density(
    run: Run, objective: Objective, images: LabelledImages, samples: int, seed: int
) -> Metrics:
    """ELBO and log p(x) on the same images, and the parts of the gap between them."""
    model = run.model
    images = LabelledImages(*(part.to(model.device) for part in images))
    reason = why_no_importance_weights(model, objective)
    prior = next(iter(model.views().values())).prior
    is_integrable = (
        model.latent_dim <= 2
        and prior.half_width() is not None
        and _draws_from_decoder(model, images)
    )
    if reason and not is_integrable:
        return {"no_log_p": reason}
    metrics: Metrics = {"images": len(images.x), "samples": samples, "seed": seed}
    if reason is None:
        estimate = _importance(model, images, samples, seed)
        metrics |= {
            "elbo": _mean(estimate.elbo),
            "log_p": _mean(estimate.log_p),
            "log_p_sampling_error": estimate.standard_error.square().mean().sqrt().item(),
            "effective_samples": estimate.effective_samples.median().item(),
            "share_with_k_over_0.7": (estimate.pareto_k > 0.7).double().mean().item(),
        }
    if is_integrable:
        exact = _integrals(model, images)
        metrics |= {
            "log_p_exact": _mean(exact.log_p),
            "log_p_exact_not_converged": int((~exact.converged).sum()),
            "log_p_exact_largest_change": exact.change.max().item(),
            "log_p_exact_prior_mass": exact.prior_mass.mean().item(),
        }
        if reason is None and _is_normal(model, images):
            rows = _chosen(len(images.x), GAP_IMAGES)
            few = LabelledImages(*(part[rows.to(part.device)] for part in images))
            generator = _generator(derive_seed(seed, len(images.x)))
            best = best_elbo(model.given(few), few.x, generator=generator)
            metrics |= {
                "gap_images": len(few.x),
                "gap_of_family": _mean(exact.log_p[rows] - best),
                "gap_of_amortization": _mean(best - estimate.elbo[rows]),
            }
    if not model.likelihood.is_probability:  # densities also on the common [0, 1] scale
        shift = run.data.normalization.log_unit_volume() * math.prod(run.data.image_shape)
        for name in {"elbo", "log_p", "log_p_exact"} & metrics.keys():
            metrics[f"{name}_unit"] = {**metrics[name], "mean": metrics[name]["mean"] + shift}
    return metrics


def _draws_from_decoder(model: LatentVariableModel, images: LabelledImages) -> bool:
    """True unless the ELBO is of another density than the decoder's, which is integrated."""
    rows, given = next(iter(model.groups(images)))
    x = images.x[rows[:2].to(images.x.device)]
    noise = normal_noise(1, len(x), model.noise_dim, seed=FIXED_SEED)
    return draws_from_decoder(given, x, noise.to(x))


def _integrals(model: LatentVariableModel, images: LabelledImages) -> QuadratureEstimate:
    """Log p(x) by integration; images for which the decoder is the same share its outputs."""
    groups = list(model.groups(images))
    parts = [
        quadrature_estimate(given, images.x[rows.to(images.x.device)]) for rows, given in groups
    ]
    order = torch.cat([rows for rows, _ in groups]).argsort().cpu()
    return QuadratureEstimate(*(torch.cat(part)[order] for part in zip(*parts, strict=True)))


def _importance(
    model: LatentVariableModel, images: LabelledImages, samples: int, seed: int
) -> ImportanceEstimate:
    """ELBO and log p(x) by importance weighting, with a progress bar."""
    console = Console(stderr=True)
    chunks = [
        LabelledImages(*rows)
        for rows in zip(*(p.split(IMAGES_AT_ONCE) for p in images), strict=True)
    ]
    batches = track(
        chunks,
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
            generator=_generator(derive_seed(seed, number)),
        )
        for number, batch in enumerate(batches)
    ]
    return ImportanceEstimate(*map(torch.cat, zip(*estimates, strict=True)))


def _chosen(count: int, most: int | None) -> Tensor:
    """Sorted indices of `most` of `count` images, drawn because the first ones may be easier."""
    return torch.randperm(count, generator=_generator(FIXED_SEED))[:most].sort().values


def _mean(values: Tensor) -> dict[str, float]:
    """The mean over images and its standard error, which is NaN for one image."""
    values = values.double()
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(math.nan)
    return {"mean": values.mean().item(), "error": error.item()}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
