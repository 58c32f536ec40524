"""Published values beside a run's own."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

from musigma.pages.run import SHOWN, text_of, title_of
from workbench.config.settings import Name
from workbench.errors import ConfigError
from workbench.project import Config
from workbench.ranges import Finite, Weight

OF_CODES = ("active_units", "perplexity")
"""Metrics of the codes of all images, which have no error over images."""


class Published(TypedDict):
    """A published value of a metric, and its source; it changes nothing of a run.

    `error` is as published. `differs` says what is not the same here: the budget, say, or the data.
    """

    value: Finite
    error: NotRequired[Weight]
    source: Name
    differs: Name


class PublishedRow(NamedTuple):
    """A line of the table that compares."""

    name: str
    obtained: str
    error: str
    published: str
    source: str
    differs: str


def check_published(config: Config) -> None:
    """Check that what was published is a metric that evaluation measures.

    Raises:
        ConfigError: for another name.
    """
    for name in config.get("published") or {}:
        known = [*SHOWN, *OF_CODES]
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"published.{name}: evaluation measures no such metric; {hint}")


def beside_published(config: Config, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The published values of a run's config, each with the one that was `obtained`, if it was.

    `obtained` is as `metrics` has it: `{"mean": ..., "error": ...}`, with the standard error over
    images.
    """
    of_codes = {name: {"mean": value} for name, value in metrics["latent"].items()}
    known = {**of_codes, **metrics}
    return {
        name: {**entry, **({"obtained": known[name]} if name in known else {})}
        for name, entry in (config.get("published") or {}).items()
        if entry is not None  # an experiment has taken back what the one that it is made of says
    }


def published_rows(metrics: Mapping[str, Any]) -> Iterator[PublishedRow]:
    """The lines of the table; a dash for what was not measured."""
    for name, entry in metrics.get("published", {}).items():
        title, unit = title_of(name, metrics)
        obtained = entry.get("obtained", {})
        value = text_of(entry["value"], unit)
        if "error" in entry:
            value += f" ± {text_of(entry['error'], unit)}"
        mean, error = (text_of(obtained.get(part), unit) for part in ("mean", "error"))
        yield PublishedRow(title, mean, error, value, entry["source"], entry["differs"])
