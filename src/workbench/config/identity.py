"""The identity of a job: a hash of the settings that may change its metrics."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from workbench.config.nested import flatten, matches
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
"""Settings that do not change a run's metrics, as patterns of dotted names; projects add others."""

ADDED_LATER = ("init_from", "init_from_parts", "freeze", "monitor")
"""Settings that older versions did not have, and that change nothing where they are null."""


def identity(config: Mapping[str, Any]) -> str:
    """A hash of the settings that may change a run's metrics: 8 hexadecimal digits."""
    settings = {n: value for n, value in explicit_settings(config).items() if changes_metrics(n)}
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def explicit_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, without those at the value that older configs imply."""
    former = {**dict.fromkeys(ADDED_LATER), **the_project().former_values}
    return {
        name: value
        for name, value in flatten(config).items()
        if name not in former or former[name] != value
    }


def changes_metrics(name: str) -> bool:
    """Whether a setting, given by its dotted name, may change a run's metrics."""
    return not matches(name, (*CHANGES_NOTHING, *the_project().changes_nothing))
