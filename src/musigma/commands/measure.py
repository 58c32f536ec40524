"""Measure a trained model on test images."""

from typing import Any

import torch

from musigma.commands.density import chosen_rows, density_metrics, has_normal_posteriors, mean_of
from musigma.evaluation import why_no_log_p
from musigma.evaluation.encoding import Encoded
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
from musigma.models import LatentVariableModel
from musigma.objectives import Objective
from musigma.seeding import FIXED_SEED
from musigma.words import NATS

NOT_NORMAL = (
    "I(x; z), the covariance of q(z), its distance from the prior and the parts of the gap between "
    "log p(x) and the ELBO, because these are computed from diagonal normal posteriors"
)

Metrics = dict[str, Any]


def measure(run: Run, test: Encoded, *, images: int | None, samples: int, seed: int) -> Metrics:
    """All metrics that mean something for a run's model.

    A metric over images is `{"mean": ..., "error": ..., "images": ...}`, with the standard error of
    the mean and the number of images. The run's data are set up; for `images`, `samples` and `seed`
    see `evaluate`.
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
    chosen = test.images(chosen_rows(len(test.y), images))
    return metrics | density_metrics(run, objective, chosen, samples, seed)


def _reconstruction(run: Run, objective: Objective, test: Encoded) -> Metrics:
    """Reconstruction errors, D, R and the model's own terms."""
    values = {**test.errors._asdict(), "distortion": -test.log_likelihood}
    if test.rate is not None:
        values["rate"] = test.rate
        is_one_draw = run.model.is_deterministic or not run.model.prior.has_density
        if is_one_draw and not why_no_log_p(run.model, objective):
            values["elbo"] = test.log_likelihood - test.rate
    units = {name: meaning.unit for name, meaning in run.model.meanings.items()}
    own = {n: {**mean_of(value), "unit": units.get(n, NATS)} for n, value in test.own.items()}
    return {name: mean_of(value) for name, value in values.items()} | own


def _latent(model: LatentVariableModel, objective: Objective, test: Encoded) -> Metrics:
    """Statistics of the codes; those that compare with the prior only if the loss has a rate."""
    own = model.latent_metrics(test.mu.to(model.device))
    metrics: Metrics = {"spread": spread(test.mu).tolist(), **own, "of_model": [*own]}
    if model.has_density and not model.is_deterministic:
        metrics["signal_to_noise"] = signal_to_noise(test.mu, test.std).tolist()
        metrics["share_of_std_at_floor"] = share_at_floor(test.std)
    return metrics | (_beside_prior(model, test) if objective.uses_prior else {})


def _beside_prior(model: LatentVariableModel, test: Encoded) -> Metrics:
    """Statistics of the codes beside those of the prior."""
    mu, std = test.mu, test.std
    moments, priors = aggregated_posterior(mu, std), [v.prior for v in model.views().values()]
    active = active_units(mu, torch.stack([prior.std() for prior in priors]).mean(0))
    metrics: Metrics = {
        "active_units": int(active.sum()),
        "aggregate_mean": moments.mean.tolist(),
    }
    if len(model.latent_dims) > 1:
        layers = active.split(model.latent_dims)
        metrics["active_units_by_layer"] = [int(layer.sum()) for layer in layers]
    if test.rates is not None:
        metrics["rate_per_dimension"] = test.rates.double().mean(0).tolist()
    has_draws = model.has_density and not model.is_deterministic
    is_normal = has_normal_posteriors(model, test.images(slice(1)))
    if has_draws and not is_normal:
        return {**metrics, "for_normal_posteriors": NOT_NORMAL}
    metrics["aggregate_covariance"] = moments.covariance.tolist()
    if has_draws and all(prior.is_standard_normal for prior in priors):
        metrics["aggregate_kl_at_least"] = gaussian_kl_to_prior(moments)
    if is_normal:
        generator = torch.Generator().manual_seed(FIXED_SEED)
        information = mutual_information(mu, std, generator=generator)
        metrics["mutual_information_at_least"] = mean_of(information)
    return metrics


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
