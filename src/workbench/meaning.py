"""The meaning of metrics, as a run records it and a report reads it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

OTHERS = "*"
"""Stands for every metric that no other entry names."""


@dataclass(frozen=True)
class Meaning:
    """What a metric is.

    Args:
        unit: in words.
        of: what it is a metric of, in words, part by part; runs compare by it where these are
            equal.
        better: which of two values is better.
        places: decimals to show.
        repeats: the metric that says the same wherever all runs compare by that one already.
    """

    unit: str
    of: tuple[str, ...] = ()
    better: Literal["lower", "higher"] = "lower"
    places: int = 4
    repeats: str | None = None


UNKNOWN = Meaning("unknown unit", ("unknown",))


@dataclass(frozen=True)
class Meanings:
    """What the metrics of a run mean.

    Args:
        metrics: by name without a stage (`loss`); `*` is every other metric.
        data: the data that they were measured on, in words.
        deciding: the metrics by which runs are ranked, the first that compares all of them.
        notes: what a reader must know before comparing them.
    """

    metrics: Mapping[str, Meaning]
    data: str = "unknown"
    deciding: tuple[str, ...] = ("loss",)
    notes: tuple[str, ...] = ()

    def of(self, metric: str) -> Meaning:
        """The meaning of a metric, with its stage or without: `test/loss`, `loss`."""
        name = metric.rpartition("/")[2]
        return self.metrics.get(name) or self.metrics.get(OTHERS, UNKNOWN)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def read_meanings(plain: Mapping[str, Any]) -> Meanings:
    """What `Meanings.plain` gave.

    Raises:
        KeyError, TypeError: if it is something else.
    """
    metrics = {
        name: Meaning(**{**entry, "of": tuple(entry["of"])})
        for name, entry in plain["metrics"].items()
    }
    rest = {"data": plain["data"]} | {key: tuple(plain[key]) for key in ("deciding", "notes")}
    return Meanings(metrics, **rest)
