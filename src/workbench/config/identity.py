"""The identity of a job: its settings apart from where and how it is recorded."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from fnmatch import translate
from typing import Any

from workbench.project import the_project

CHANGES_NOTHING = (
    "name",
    "resume",
    "sweep",
    "varied",
    "optimized_metric",
    "log_dir",
    "logger*",
    "callbacks.progress*",
    "callbacks.throughput*",
    "callbacks.graceful_stop*",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.profiler*",
)
"""Settings, as patterns of dotted names, that leave a run's metrics as they are; a project adds its
own."""


NEW = ("init_from", "init_from_parts", "freeze", "monitor")
"""Settings that were not there once: null, they leave the identity of a job as it was."""


def identity(config: Mapping[str, Any]) -> str:
    """A hash of what a resolved config says about a run's metrics: 8 hexadecimal digits."""
    settings = {
        name: value
        for name, value in said(config).items()
        if changes_metrics(name) and not (value is None and name in NEW)
    }
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def said(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names, without those that older versions did not write."""
    former = the_project().former_values
    return {
        n: value for n, value in flatten(config).items() if n not in former or former[n] != value
    }


def changes_metrics(name: str) -> bool:
    """Whether a setting, by its dotted name, may change a run's metrics."""
    return not _any_of((*CHANGES_NOTHING, *the_project().changes_nothing)).match(name)


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
