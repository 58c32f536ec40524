"""The objects of a run, from its config."""

import typing
from typing import Any

import lightning as L

from workbench.callbacks.unsupported import refuse_unsupported
from workbench.config.blame import blaming
from workbench.config.identity import said
from workbench.config.instantiate import instantiate
from workbench.config.kept import kept
from workbench.errors import ConfigError
from workbench.foreign import is_foreign
from workbench.module import reports_of
from workbench.parts import find_part, freeze
from workbench.project import Config, the_project


def build_data(config: Config) -> L.LightningDataModule:
    """The data module; nothing is read yet."""
    hint = typing.get_type_hints(the_project().settings()["train"])["data"]
    data: L.LightningDataModule = the_project().adopt(
        config, instantiate(config["data"], hint, "data")
    )
    return data


def build_module(config: Config, data: L.LightningDataModule) -> L.LightningModule:
    """The module of a run, whose optimizers and schedulers can be made.

    Raises:
        ConfigError: if they cannot, or a part is named that it does not have.
    """
    module = the_project().assemble(config, data)
    reports = reports_of(module)
    reports.config = kept(config)
    if monitor := config.get("monitor"):
        reports.monitor = monitor
    if config.get("freeze"):
        freeze(module, config["freeze"])
    for part in config.get("init_from_parts") or []:
        find_part(module, part, "init_from_parts")
    if config.get("init_from_parts") and not config.get("init_from"):
        raise ConfigError("init_from_parts: of which run? set init_from too")
    if is_foreign(type(module)):  # its optimizers may ask for the trainer
        return module
    try:
        with blaming("optimizer or scheduler"):
            module.configure_optimizers()
    except TypeError as error:  # of how they are called
        raise ConfigError(f"optimizer or scheduler: {error}") from error
    return module


def build_callbacks(config: Config) -> dict[str, L.Callback]:
    """The callbacks that are not null, by their places in the config.

    Raises:
        ConfigError: if one of them does not go with a run.
    """
    callbacks = {
        f"callbacks.{name}": instantiate(callback, L.Callback, f"callbacks.{name}")
        for name, callback in (config.get("callbacks") or {}).items()
        if callback is not None
    }
    for place, callback in callbacks.items():
        refuse_unsupported(callback, place)
    return callbacks


def compared_settings(config: Config) -> dict[str, Any]:
    """The settings that runs are compared by, by dotted name; classes by the place they fill.

    `{"model.width": 2, "model.activation": "ReLU", ...}`; what only says where and how
    a run is recorded is left out.
    """
    recorded = ("callbacks", "logger", "log_dir", "resume", "sweep", "varied", "published")
    settings = said({key: value for key, value in config.items() if key not in recorded})
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
