"""Build the objects of a run from its config."""

import typing
from typing import Any, TypedDict

import lightning as L
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.nn.parameter import is_lazy

from workbench.callbacks.unsupported import refuse_unsupported
from workbench.config.blame import blaming
from workbench.config.check import check_config
from workbench.config.identity import changes_metrics, explicit_settings
from workbench.config.instantiate import instantiate
from workbench.config.nested import matches
from workbench.config.places import path_arguments
from workbench.config.settings import RunSettings
from workbench.errors import ConfigError
from workbench.foreign import is_foreign
from workbench.module import reports_of
from workbench.optimizers.parts import find_part, freeze
from workbench.project import Config, the_project

MODULE_SETTINGS = ("seed", "optimizer", "scheduler", "parameter_groups", "freeze", "monitor")
"""The workbench's settings that belong to the module; all settings of a project do."""

NOT_COMPARED = (
    "logger*",
    "log_dir",
    "resume",
    "sweep",
    "varied",
    "published*",
    "callbacks.checkpoint._target_",
    "callbacks.stop_when_not_finite*",
)
"""Settings, as patterns of dotted names, by which runs with metrics do not differ."""


def build_data(config: Config) -> L.LightningDataModule:
    """Build the data module, without reading any data."""
    hint = typing.get_type_hints(the_project().settings()["train"])["data"]
    data: L.LightningDataModule = the_project().adopt(
        config, instantiate(config["data"], hint, "data")
    )
    return data


def build_module(config: Config, data: L.LightningDataModule) -> L.LightningModule:
    """Build the module of a run, and make its optimizers and schedulers once to check them.

    Raises:
        ConfigError: if they cannot be made, or a setting names a part that the module lacks.
    """
    module = the_project().assemble(config, data)
    if is_overridden("configure_model", module):
        with blaming("module"):
            module.configure_model()  # a part that it makes can be frozen and restored
    if any(map(is_lazy, module.parameters())):
        place = "module" if is_foreign(type(module)) else "model"
        raise ConfigError(
            f"{place}: has lazy layers, whose shapes are not known: give them, or call the layers "
            "once in the constructor"
        )
    reports = reports_of(module)
    reports.config = module_config(config)
    if monitor := config.get("monitor"):
        reports.monitor = monitor
    if config.get("freeze"):
        freeze(module, config["freeze"])
    for part in config.get("init_from_parts") or []:
        find_part(module, part, "init_from_parts")
    if config.get("init_from_parts") and not config.get("init_from"):
        raise ConfigError("init_from_parts: of which run? set init_from too")
    if is_foreign(type(module)):  # its configure_optimizers may need the trainer
        return module
    try:
        with blaming("optimizer or scheduler"):
            module.configure_optimizers()
    except TypeError as error:  # wrong arguments
        raise ConfigError(f"optimizer or scheduler: {error}") from error
    return module


def module_config(config: Config) -> Config:
    """The settings that building the module needs, which its checkpoints keep, wherever a run lies.

    The paths of the data, which no module needs, are replaced by `.`.
    """
    found = {name: config[name] for name in _module_entries() if name in config}
    if not isinstance(data := found.get("data"), dict):
        return found
    paths = {name: "." for name in path_arguments(data) if data.get(name) is not None}
    return {**found, "data": {**data, **paths}}


def check_module_config(config: Config) -> None:
    """Raise a ConfigError for all faults in a checkpoint's config, which may be a stranger's."""
    settings: Any = TypedDict("ModuleConfig", _module_entries())  # type: ignore[misc]
    check_config(config, settings)


def _module_entries() -> dict[str, Any]:
    entries = the_project().settings()["train"].__annotations__
    left_out = RunSettings.__annotations__.keys() - {*MODULE_SETTINGS}
    return {name: hint for name, hint in entries.items() if name not in left_out}


def nodes_in(config: Config, group: str) -> dict[str, Any]:
    """The entries of `callbacks` or `logger` that are not null."""
    return {name: node for name, node in (config.get(group) or {}).items() if node is not None}


def build_callbacks(config: Config) -> dict[str, L.Callback]:
    """Build the callbacks that are not null, by their places in the config.

    Raises:
        ConfigError: if one of them does not work in a run of the workbench's.
    """
    callbacks = {
        f"callbacks.{name}": instantiate(node, L.Callback, f"callbacks.{name}")
        for name, node in nodes_in(config, "callbacks").items()
    }
    for place, callback in callbacks.items():
        refuse_unsupported(callback, place)
    return callbacks


def compared_settings(config: Config) -> dict[str, Any]:
    """The settings by which runs are compared, by dotted name, without how a run is recorded.

    A class stands at the place of its `_target_`, by its name without the module:
    `{"model.width": 2, "model.activation": "ReLU", ...}`.
    """
    settings = {
        name: value
        for name, value in explicit_settings(config).items()
        if not matches(name, NOT_COMPARED)
        and (changes_metrics(name) or not name.startswith("callbacks."))
    }
    classes = {
        name.removesuffix("._target_"): value.rpartition(".")[2]
        for name, value in settings.items()
        if name.endswith("._target_")
    }
    plain = {
        name: value
        for name, value in settings.items()
        if not name.endswith(("._target_", "._partial_"))
    }
    return classes | plain
