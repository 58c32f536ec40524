"""Units of metrics, and descriptions of objects and their settings."""

from collections.abc import Mapping
from typing import Any

NATS = "nats per image"
"""The unit of an objective's terms."""

UNITS = {
    "loss": "nats per pixel, less a constant",
    "l1": "per pixel",
    "mse": "per pixel",
}
"""The units of the other metrics."""


def unit_of(metric: str) -> str:
    """The unit of a metric, named with or without its stage: `test/l1`, `l1`."""
    return UNITS.get(metric.rpartition("/")[2], NATS)


def in_words(thing: object, settings: Mapping[str, Any]) -> str:
    """The class of an object and its settings: `ELBO(beta=1.0)`."""
    return _call(type(thing).__name__, settings)


def _call(name: str, settings: Mapping[str, Any]) -> str:
    shown = (f"{k}={_value(v)}" for k, v in settings.items() if not k.startswith("_"))
    arguments = ", ".join(shown)
    return f"{name}({arguments})" if arguments else name


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and "_target_" in value:
        return _call(str(value["_target_"]).rpartition(".")[2], value)
    return str(value)


def describe(config: Mapping[str, Any], model: Any, objective: Any, data: Any) -> dict[str, str]:
    """Data, model and objective of a run, one line each."""
    return {
        "data": _describe_data(data),
        "model": f"{config.get('name', 'model')}: {model.in_words()}, {_count_parameters(model)}",
        "objective": in_words(objective, config["model"]["objective"]),
    }


def describe_foreign(config: Mapping[str, Any], module: Any, data: Any) -> dict[str, str]:
    """Data and module of a run with a foreign module, one line each."""
    settings = in_words(module, config["module"])
    return {
        "data": _describe_data(data),
        "module": f"{settings}, {_count_parameters(module)}, with its own model and optimizers",
    }


def _describe_data(data: Any) -> str:
    pixels = f", pixels: {type(data.normalization).__name__}" if data.known_shape else ""
    streamed = ""
    if data.is_streamed:
        plural = "" if data.num_workers == 1 else "s"
        streamed = f", streamed by {data.num_workers} worker{plural}"
    return f"{data.name}{pixels}, data source: {data.source}{streamed}"


def _count_parameters(module: Any) -> str:
    parameters = sum(p.numel() for p in module.parameters())
    frozen = sum(p.numel() for p in module.parameters() if not p.requires_grad)
    return f"{parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")
