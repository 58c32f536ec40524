"""Compare the metrics of a run with published values."""

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

from musigma.pages.run import SHOWN, text_of, title_of
from workbench.config.settings import Name
from workbench.errors import ConfigError
from workbench.project import Config
from workbench.ranges import Finite, Weight

OF_CODES = ("active_units", "perplexity")
"""Metrics of all codes together, which have no standard error over images."""


class Published(TypedDict):
    """A published value of a metric, which is shown beside the run's own.

    `error` is as published. `differs` says how the published run differs, in data or budget say.
    """

    value: Finite
    error: NotRequired[Weight]
    source: Name
    differs: Name


class PublishedRow(NamedTuple):
    """A row of the table that compares obtained and published values.

    `metric` is its key in `evaluation/metrics.json`, and `name` its title.
    """

    metric: str
    name: str
    obtained: str
    error: str
    published: str
    source: str
    differs: str


def check_published(config: Config) -> None:
    """Check that published values are of metrics that evaluation measures.

    Raises:
        ConfigError: if one is not.
    """
    for name in config.get("published") or {}:
        known = [*SHOWN, *OF_CODES]
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"published.{name}: evaluation measures no such metric; {hint}")


def beside_published(config: Config, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The published values of a run's config, each with the `obtained` one if it was measured.

    `obtained` is the entry of `metrics`, `{"mean": ..., "error": ...}`, with the standard error
    over images. Entries of another form, which a config edited by hand may have, are ignored.
    """
    published = config.get("published")
    of_codes = {name: {"mean": value} for name, value in metrics["latent"].items()}
    known = {**of_codes, **metrics}
    return {
        name: {**entry, **({"obtained": known[name]} if name in known else {})}
        for name, entry in (published.items() if isinstance(published, Mapping) else ())
        if isinstance(entry, Mapping)  # null removes a value of the experiment that is extended
        and {"source", "differs"} <= entry.keys()
        and all(map(_is_number, (entry.get("value"), entry.get("error", 0))))
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def published_rows(metrics: Mapping[str, Any]) -> Iterator[PublishedRow]:
    """The rows of the table; a dash for values that were not measured."""
    for name, entry in metrics.get("published", {}).items():
        title, unit = title_of(name, metrics)
        obtained = entry.get("obtained", {})
        value = text_of(entry["value"], unit)
        if "error" in entry:
            value += f" ± {text_of(entry['error'], unit)}"
        mean, error = (text_of(obtained.get(part), unit) for part in ("mean", "error"))
        yield PublishedRow(name, title, mean, error, value, entry["source"], entry["differs"])
