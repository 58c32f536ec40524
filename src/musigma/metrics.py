"""The meaning of each metric of a run: unit, direction, and what it compares with."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from musigma.assemble import build_data, build_objective
from musigma.data import ImageDataModule
from musigma.data.normalization import Dequantize
from musigma.module import AutoencoderModule
from musigma.objectives import Objective
from musigma.objectives.likelihoods.likelihood import Likelihood
from musigma.units import NATS, UNITS
from workbench.config.instantiate import instantiate
from workbench.meaning import OTHERS, Meaning, Meanings
from workbench.project import Config

OF_CODES = ("rate", "mutual_information", "total_correlation", "dimension_wise_rate")
"""Metrics of codes alone, in nats whatever the pixels are."""

SIGN_OF_DENSITY = {"elbo": 1, "iwae": 1, "distortion": -1}
"""Metrics that hold a log-density of pixels, and its sign."""

GREY = "cross-entropy of grey levels, which is not a likelihood"
NO_LIKELIHOODS = "Among these are cross-entropies of grey levels, and no likelihoods."


def meanings(
    config: Mapping[str, Any], module: AutoencoderModule, data: ImageDataModule
) -> Meanings:
    """What the metrics of a run mean."""
    return _meanings(config, data, data.source, module.model.likelihood, module.objective)


def derived(
    metrics: Mapping[str, float], module: AutoencoderModule, data: ImageDataModule
) -> dict[str, float]:
    """What follows from metrics: `on_common_scale`."""
    return on_common_scale(metrics, data, module.model.likelihood)


def older(
    config: Config, source: str, metrics: Mapping[str, float]
) -> tuple[Meanings, dict[str, float]]:
    """What runs before version 0.3 did not record: meanings, and metrics on the common scale."""
    data, objective = build_data(config), build_objective(config)
    likelihood = instantiate(config["model"]["likelihood"], Likelihood, "model.likelihood")
    known = _meanings(config, data, source, likelihood, objective)
    return known, on_common_scale(metrics, data, likelihood)


def _meanings(
    config: Mapping[str, Any],
    data: ImageDataModule,
    source: str,
    likelihood: Likelihood,
    objective: Objective,
) -> Meanings:
    """What the metrics of a run with that config and these parts mean.

    Losses compare where data, pixels, likelihood and objective are the same; log-densities (ELBO,
    distortion) where data and pixels are, whatever the model. What `on_common_scale` adds compares
    on differently normalised pixels too.
    """
    dataset = f"{data.name} ({source})"
    density, common = _densities(data, likelihood)
    whole = (
        dataset,
        f"{_pixels(data)} pixels",
        _described(likelihood, config["model"]["likelihood"]) + " likelihood",
        "objective " + _described(objective, config["model"]["objective"]),
    )
    metrics = {OTHERS: Meaning(NATS, whole, places=2)}
    for name, unit in UNITS.items():
        metrics[name] = Meaning(unit, whole[:2] if name in ("l1", "mse") else whole)
    for name in OF_CODES:
        metrics[name] = Meaning(NATS, (dataset,), places=2)
    for name, sign in SIGN_OF_DENSITY.items():
        metrics[name] = Meaning(NATS, (dataset, density), "higher" if sign > 0 else "lower", 2)
        if common:
            metrics[f"{name}_unit"] = replace(metrics[name], of=(dataset, common), repeats=name)
    notes = () if likelihood.is_density else (NO_LIKELIHOODS,)
    return Meanings(metrics, dataset, (objective.monitor, "elbo", "elbo_unit"), notes)


def on_common_scale(
    metrics: Mapping[str, float], data: ImageDataModule, likelihood: Likelihood
) -> dict[str, float]:
    """Log-densities once more, as densities of [0, 1] pixels: `test/elbo` as `test/elbo_unit`.

    None where pixels are classes, or where there is no density.
    """
    if not _densities(data, likelihood)[1]:
        return {}
    gain = data.normalization.log_unit_volume() * math.prod(data.image_shape)
    return {
        f"{name}_unit": value + sign * gain
        for name, value in metrics.items()
        if (sign := SIGN_OF_DENSITY.get(name.partition("/")[2]))
    }


def _densities(data: ImageDataModule, likelihood: Likelihood) -> tuple[str, str]:
    """What exp(log p(x|z)) is in the model's own pixels, and on the common scale, in words."""
    normalization = data.normalization
    if not likelihood.is_density:
        return GREY, ""
    if normalization.pixels == "binary":
        return "probability of binary pixels", ""
    if isinstance(normalization, Dequantize):
        return ("density of dequantized pixels",) * 2
    return f"density of {_pixels(data)} pixels", "density of [0, 1] pixels"


def _pixels(data: ImageDataModule) -> str:
    return _described(data.normalization, vars(data.normalization))


def _described(thing: object, settings: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{k}={v}" for k, v in settings.items() if not k.startswith("_"))
    return type(thing).__name__ + (f"({shown})" if shown else "")
