"""The units of what is reported."""

NATS = "nats per image"
"""The unit of what objectives report."""

UNITS = {
    "loss": "nats per pixel, less a constant",
    "l1": "per pixel",
    "mse": "per pixel",
    "mmd": "MMD², without a unit",
}
"""The units of the other figures."""


def unit_of(figure: str) -> str:
    """The unit of a figure, with its stage or without: `test/l1`, `l1`."""
    return UNITS.get(figure.rpartition("/")[2], NATS)
