"""Units of metrics, and settings in words."""

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
    """The unit of a metric, with its stage or without: `test/l1`, `l1`."""
    return UNITS.get(metric.rpartition("/")[2], NATS)


def in_words(thing: object, settings: Mapping[str, Any]) -> str:
    """The class of an object with its settings: `ELBO(beta=1.0)`."""
    return _called(type(thing).__name__, settings)


def _called(name: str, settings: Mapping[str, Any]) -> str:
    shown = (f"{k}={_value(v)}" for k, v in settings.items() if not k.startswith("_"))
    inside = ", ".join(shown)
    return f"{name}({inside})" if inside else name


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and "_target_" in value:
        return _called(str(value["_target_"]).rpartition(".")[2], value)
    return str(value)


def describe(config: Mapping[str, Any], model: Any, objective: Any, data: Any) -> dict[str, str]:
    """Data, model and objective of a run, a line each."""
    return {
        "data": _of_data(data),
        "model": f"{config.get('name', 'model')}: {model.in_words()}, {_size(model)}",
        "objective": in_words(objective, config["model"]["objective"]),
    }


def describe_foreign(config: Mapping[str, Any], module: Any, data: Any) -> dict[str, str]:
    """Data and module of a run whose module is of the user's own class, a line each."""
    settings = in_words(module, config["module"])
    return {
        "data": _of_data(data),
        "module": f"{settings}, {_size(module)}; its model and optimizers are its own",
    }


def _of_data(data: Any) -> str:
    pixels = f", {type(data.normalization).__name__} pixels" if data.known_shape else ""
    streamed = ""
    if data.is_streamed:
        plural = "" if data.num_workers == 1 else "s"
        streamed = f", streamed by {data.num_workers} worker{plural}"
    return f"{data.name}{pixels}, data source: {data.source}{streamed}"


def _size(module: Any) -> str:
    parameters = sum(p.numel() for p in module.parameters())
    frozen = sum(p.numel() for p in module.parameters() if not p.requires_grad)
    return f"{parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")
