"""Units of metrics, and settings in words."""

from collections.abc import Mapping
from typing import Any

NATS = "nats per image"
"""The unit of an objective's terms."""

UNITS = {
    "loss": "nats per pixel, less a constant",
    "l1": "per pixel",
    "mse": "per pixel",
    "mmd": "MMD², without a unit",
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
    parameters = sum(p.numel() for p in model.parameters())
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    size = f"{parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")
    return {
        "data": f"{data.name}, {type(data.normalization).__name__} pixels, "
        f"data source: {data.source}"
        + (f", streamed by {data.num_workers} workers" if data.is_streamed else ""),
        "model": f"{config.get('name', 'model')}: {model.in_words()}, {size}",
        "objective": in_words(objective, config["model"]["objective"]),
    }
