"""The part of a run's config that its checkpoints keep: all that building its module needs."""

from typing import Any, TypedDict

from workbench.config.check import check_config
from workbench.config.places import path_arguments
from workbench.config.settings import RunSettings
from workbench.project import Config, the_project

MODULE_SETTINGS = ("seed", "optimizer", "scheduler", "parameter_groups", "freeze", "monitor")
"""The workbench's settings that belong to the module; all settings of a project do."""


def module_config(config: Config) -> Config:
    """The settings of the module and the data, the same wherever a run lies.

    The paths of the data, which no module needs, are replaced by `.`.
    """
    found = {name: config[name] for name in _entries() if name in config}
    if not isinstance(data := found.get("data"), dict):
        return found
    paths = {name: "." for name in path_arguments(data) if data.get(name) is not None}
    return {**found, "data": {**data, **paths}}


def check_module_config(config: Config) -> None:
    """Raise a ConfigError for all faults in a checkpoint's config, which may be a stranger's."""
    settings: Any = TypedDict("ModuleConfig", _entries())  # type: ignore[misc]
    check_config(config, settings)


def _entries() -> dict[str, Any]:
    entries = the_project().settings()["train"].__annotations__
    left_out = RunSettings.__annotations__.keys() - {*MODULE_SETTINGS}
    return {name: hint for name, hint in entries.items() if name not in left_out}
