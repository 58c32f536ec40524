"""The meaning of metrics, as a run records it and a report reads it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

OTHERS = "*"
"""The entry for every metric that no other entry names."""


@dataclass(frozen=True)
class Meaning:
    """The meaning of a metric.

    Args:
        unit: in words.
        of: the quantity measured, in words, part by part; values of equal quantities compare.
        better: the better of two values; `neither` for a metric that only describes.
        places: decimals to show.
        repeats: a metric that makes this one redundant where all runs compare by it.
    """

    unit: str
    of: tuple[str, ...] = ()
    better: Literal["lower", "higher", "neither"] = "lower"
    places: int = 4
    repeats: str | None = None


UNKNOWN = Meaning("unknown unit", ("unknown",))


@dataclass(frozen=True)
class Meanings:
    """The meanings of the metrics of a run.

    Args:
        metrics: by name without a stage (`loss`); `*` stands for every other metric.
        data: the data that they were measured on, in words.
        deciding: metrics to rank runs by; a comparison uses the first that is listed by all of its
            runs and comparable between them.
        notes: caveats for comparisons.
    """

    metrics: Mapping[str, Meaning]
    data: str = "unknown"
    deciding: tuple[str, ...] = ("loss",)
    notes: tuple[str, ...] = ()

    def of(self, metric: str) -> Meaning:
        """The meaning of a metric, named with its stage or without: `test/loss`, `loss`."""
        name = metric.rpartition("/")[2]
        return self.metrics.get(name) or self.metrics.get(OTHERS, UNKNOWN)

    def plain(self) -> dict[str, Any]:
        """The meanings as plain values, for JSON."""
        return asdict(self)


def read_meanings(plain: Mapping[str, Any]) -> Meanings:
    """The inverse of `Meanings.plain`; raises KeyError or TypeError for anything else."""
    metrics = {
        name: Meaning(**{**entry, "of": tuple(entry["of"])})
        for name, entry in plain["metrics"].items()
    }
    rest = {"data": plain["data"]} | {key: tuple(plain[key]) for key in ("deciding", "notes")}
    return Meanings(metrics, **rest)
