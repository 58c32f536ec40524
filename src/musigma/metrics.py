"""The meaning of each metric of a run: its unit, its direction, and when it is comparable."""

import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

from musigma.assemble import build_data, build_objective
from musigma.data import ImageDataModule
from musigma.data.normalization import Dequantize
from musigma.objectives.likelihoods.likelihood import Likelihood
from musigma.words import NATS, UNITS, in_words
from workbench.config.instantiate import instantiate
from workbench.foreign import is_foreign
from workbench.meaning import OTHERS, Meaning, Meanings
from workbench.module import reports_of
from workbench.project import Config

SIGN_OF_DENSITY = {"elbo": 1, "iwae": 1, "distortion": -1}
"""Metrics that contain a log-density of pixels, with its sign."""

GREY = "cross-entropy of grey levels, which is not a likelihood"
UNSTATED = "not stated"
NO_LIKELIHOODS = "Among these are cross-entropies of grey levels, which are not likelihoods."


def older_meanings(
    config: Config, source: str, metrics: Mapping[str, float]
) -> tuple[Meanings, dict[str, float]]:
    """The meanings, and the metrics on the common scale, of a run older than version 0.3."""
    data, objective = build_data(config), build_objective(config)
    data.source = source
    likelihood = instantiate(config["model"]["likelihood"], Likelihood, "model.likelihood")
    model = SimpleNamespace(likelihood=likelihood, evidence="p(x)", penalty_names=(), meanings={})
    parts = SimpleNamespace(model=model, objective=objective)
    return meanings(config, parts, data), on_common_scale(metrics, parts, data)


def meanings(config: Mapping[str, Any], module: Any, data: ImageDataModule) -> Meanings:
    """The meanings of the metrics of a run.

    Metrics of two runs are comparable only if data and modelled density (p(x), or p(x|y) of
    conditional models) are the same, and

    - losses: pixels, likelihood and objective, and batch sizes if the loss depends on them;
    - `l1` and `mse`: pixels;
    - log-densities (ELBO, distortion): pixels, and the draws of an importance-weighted bound;
    - log-densities of `on_common_scale`: the draws of an importance-weighted bound;
    - estimates of a batch: the estimator and the batch sizes.
    """
    dataset = f"{data.name} ({data.source})"
    if is_foreign(type(module)):
        return _foreign_meanings(config, module, dataset)
    likelihood, objective = module.model.likelihood, module.objective
    density, common_density = _densities(data, likelihood)
    evidence = f"log {module.model.evidence}"
    sizes = [getattr(data, name, "unknown") for name in ("batch_size", "eval_batch_size")]
    batches = f" in batches of {sizes[0]} and {sizes[1]}"
    description = in_words(objective, config["model"]["objective"])
    if objective.depends_on_batch_size:
        description += batches
    conditions = (
        dataset,
        evidence,
        f"{_pixels(data)} pixels",
        in_words(likelihood, config["model"]["likelihood"]) + " likelihood",
        f"objective {description}{_penalties(config, module)}",
    )
    metrics = {OTHERS: Meaning(NATS, conditions, places=2)}
    for name, unit in UNITS.items():
        metrics[name] = Meaning(unit, conditions[:3] if name in ("l1", "mse") else conditions)
    for name, meaning in {**objective.meanings, **module.model.meanings}.items():
        metrics[name] = replace(meaning, of=(*conditions, *meaning.of))
    metrics["rate"] = Meaning(NATS, (dataset, evidence), "neither", 2)
    for name, estimator in objective.estimators.items():
        of = (dataset, evidence, f"{estimator}{batches}")
        meaning = objective.meanings.get(name, Meaning(NATS, (), "neither", 2))
        metrics[name] = replace(meaning, of=(*of, *meaning.of))
    for name, sign in SIGN_OF_DENSITY.items():
        better: Literal["higher", "lower"] = "higher" if sign > 0 else "lower"
        bound = (f"bound by {objective.samples} draws",) if name == "iwae" else ()
        metrics[name] = Meaning(NATS, (dataset, evidence, density, *bound), better, 2)
        if common_density:
            on_common = (dataset, evidence, common_density, *bound)
            metrics[f"{name}_unit"] = replace(metrics[name], of=on_common, repeats=name)
    notes = () if likelihood.is_density else (NO_LIKELIHOODS,)
    return Meanings(metrics, dataset, (objective.monitor, "elbo", "elbo_unit"), notes)


def _foreign_meanings(config: Mapping[str, Any], module: Any, dataset: str) -> Meanings:
    """Metrics of a foreign module, which are comparable if data and class are the same.

    Which values are better is known for the checkpoint callback's monitor alone, from its `mode`.
    """
    conditions = (dataset, f"as {type(module).__name__} logs it")
    checkpoint = (config.get("callbacks") or {}).get("checkpoint") or {}
    chosen = str(checkpoint.get("monitor") or reports_of(module).monitor).rpartition("/")[2]
    better: Literal["lower", "higher"] = "higher" if checkpoint.get("mode") == "max" else "lower"
    others = Meaning(UNSTATED, conditions, "neither")
    metrics = {OTHERS: others, chosen: replace(others, better=better)}
    return Meanings(metrics, dataset, (chosen,))


def on_common_scale(
    metrics: Mapping[str, float], module: Any, data: ImageDataModule
) -> dict[str, float]:
    """Log-densities converted to those of [0, 1] pixels: `test/elbo` as `test/elbo_unit`.

    Empty if the model has no density.
    """
    if is_foreign(type(module)) or not _densities(data, module.model.likelihood)[1]:
        return {}
    gain = data.normalization.log_unit_volume() * math.prod(data.image_shape)
    return {
        f"{name}_unit": value + sign * gain
        for name, value in metrics.items()
        if (sign := SIGN_OF_DENSITY.get(name.partition("/")[2]))
    }


def _penalties(config: Mapping[str, Any], module: Any) -> str:
    """The penalties that the model itself adds to the loss, with its settings."""
    if not module.model.penalty_names:
        return ""
    settings = {
        name: value
        for name, value in config["model"].items()
        if name not in ("likelihood", "objective", "latent_dim", "center_output")
        and not (isinstance(value, Mapping) and "_target_" in value)
    }
    return f" and {', '.join(module.model.penalty_names)} of {in_words(module.model, settings)}"


def _densities(data: ImageDataModule, likelihood: Likelihood) -> tuple[str, str]:
    """The names of the density p(x|z) of the model's pixels, and of that on the common scale."""
    normalization = data.normalization
    if not likelihood.is_density:
        return GREY, ""
    if likelihood.is_probability:
        is_binary = normalization.pixels == "binary"
        return f"probability of {'binary pixels' if is_binary else 'grey levels'}", ""
    if isinstance(normalization, Dequantize):
        return ("density of dequantized pixels",) * 2
    return f"density of {_pixels(data)} pixels", "density of [0, 1] pixels"


def _pixels(data: ImageDataModule) -> str:
    return in_words(data.normalization, vars(data.normalization))
