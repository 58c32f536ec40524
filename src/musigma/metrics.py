"""The meaning of each metric of a run: unit, direction, and what it compares with."""

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
"""Metrics that hold a log-density of pixels, and its sign."""

GREY = "cross-entropy of grey levels, which is not a likelihood"
UNSTATED = "not stated"
NO_LIKELIHOODS = "Among these are cross-entropies of grey levels, which are not likelihoods."


def older(
    config: Config, source: str, metrics: Mapping[str, float]
) -> tuple[Meanings, dict[str, float]]:
    """The meanings, and the metrics on the common scale, of a run from before version 0.3."""
    data, objective = build_data(config), build_objective(config)
    data.source = source
    likelihood = instantiate(config["model"]["likelihood"], Likelihood, "model.likelihood")
    model = SimpleNamespace(likelihood=likelihood, speaks_of="p(x)", pays=(), meanings={})
    parts = SimpleNamespace(model=model, objective=objective)
    return meanings(config, parts, data), on_common_scale(metrics, parts, data)


def meanings(config: Mapping[str, Any], module: Any, data: ImageDataModule) -> Meanings:
    """The meanings of the metrics of a run.

    All compare only among models that speak of the same density: p(x), or p(x|y) of one that is
    told labels. Losses compare where data, pixels, likelihood and objective are the same, and if
    the objective estimates something of a batch the sizes of batches too;
    log-densities (ELBO, distortion) where data and pixels are, whatever the model, and bounds of
    several draws where these are as many. Those of `on_common_scale` compare on differently
    normalised pixels too, and what an objective estimates of the codes if the estimator and the
    sizes of batches are the same.
    """
    dataset = f"{data.name} ({data.source})"
    if is_foreign(type(module)):
        return _of_foreign(config, module, dataset)
    likelihood, objective = module.model.likelihood, module.objective
    density, common = _densities(data, likelihood)
    speaks_of = f"log {module.model.speaks_of}"
    sizes = [getattr(data, f"{what}batch_size", "unknown") for what in ("", "eval_")]
    batches = f" in batches of {sizes[0]} and {sizes[1]}"
    minimised = in_words(objective, config["model"]["objective"])
    if objective.estimators:
        minimised += batches
    whole = (
        dataset,
        speaks_of,
        f"{_pixels(data)} pixels",
        in_words(likelihood, config["model"]["likelihood"]) + " likelihood",
        f"objective {minimised}{_paid(config, module)}",
    )
    metrics = {OTHERS: Meaning(NATS, whole, places=2)}
    for name, unit in UNITS.items():
        metrics[name] = Meaning(unit, whole[:3] if name in ("l1", "mse") else whole)
    for name, meaning in {**objective.meanings, **module.model.meanings}.items():
        metrics[name] = replace(meaning, of=(*whole, *meaning.of))
    metrics["rate"] = Meaning(NATS, (dataset, speaks_of), "neither", 2)
    for name, estimator in objective.estimators.items():
        of = (dataset, speaks_of, f"{estimator}{batches}")
        meaning = objective.meanings.get(name, Meaning(NATS, (), "neither", 2))
        metrics[name] = replace(meaning, of=(*of, *meaning.of))
    for name, sign in SIGN_OF_DENSITY.items():
        better: Literal["higher", "lower"] = "higher" if sign > 0 else "lower"
        bound = (f"bound by {objective.samples} draws",) if name == "iwae" else ()
        metrics[name] = Meaning(NATS, (dataset, speaks_of, density, *bound), better, 2)
        if common:
            on_common = (dataset, speaks_of, common, *bound)
            metrics[f"{name}_unit"] = replace(metrics[name], of=on_common, repeats=name)
    notes = () if likelihood.is_density else (NO_LIKELIHOODS,)
    return Meanings(metrics, dataset, (objective.monitor, "elbo", "elbo_unit"), notes)


def _of_foreign(config: Mapping[str, Any], module: Any, dataset: str) -> Meanings:
    """Metrics of a class of the user's own: they compare where data and class are the same.

    Which is better of two values is said by the checkpoint callback's `mode` for its monitor; less
    is better in all others.
    """
    whole = (dataset, f"as {type(module).__name__} logs it")
    checkpoint = (config.get("callbacks") or {}).get("checkpoint") or {}
    chosen = str(checkpoint.get("monitor") or reports_of(module).monitor).rpartition("/")[2]
    better: Literal["lower", "higher"] = "higher" if checkpoint.get("mode") == "max" else "lower"
    metrics = {OTHERS: Meaning(UNSTATED, whole), chosen: Meaning(UNSTATED, whole, better)}
    return Meanings(metrics, dataset, (chosen,))


def on_common_scale(
    metrics: Mapping[str, float], module: Any, data: ImageDataModule
) -> dict[str, float]:
    """Log-densities once more, as densities of [0, 1] pixels: `test/elbo` as `test/elbo_unit`.

    None if there is no density.
    """
    if is_foreign(type(module)) or not _densities(data, module.model.likelihood)[1]:
        return {}
    gain = data.normalization.log_unit_volume() * math.prod(data.image_shape)
    return {
        f"{name}_unit": value + sign * gain
        for name, value in metrics.items()
        if (sign := SIGN_OF_DENSITY.get(name.partition("/")[2]))
    }


def _paid(config: Mapping[str, Any], module: Any) -> str:
    """The penalties that the model itself adds to the loss, in words, with its settings."""
    if not module.model.pays:
        return ""
    settings = {
        name: value
        for name, value in config["model"].items()
        if isinstance(value, int | float | str) and name not in ("latent_dim", "center_output")
    }
    return f" and {', '.join(module.model.pays)} of {in_words(module.model, settings)}"


def _densities(data: ImageDataModule, likelihood: Likelihood) -> tuple[str, str]:
    """The names of exp(log p(x|z)) in the model's own pixels, and on the common scale."""
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
