"""Build the objects of a run from its config, and check that they fit together."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch

from musigma.data import ForeignDataModule, ImageDataModule
from musigma.data.batch import check_pixels
from musigma.data.normalization import Dequantize
from musigma.models import LatentVariableModel
from musigma.module import AutoencoderModule
from musigma.objectives import Objective
from musigma.published import check_published
from workbench.config.instantiate import instantiate
from workbench.config.signatures import arguments_of
from workbench.config.targets import find_class, target_of
from workbench.errors import ConfigError, DataError
from workbench.foreign import adapted, is_foreign
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.optimizers.schedules import SchedulerRecipe
from workbench.project import Config
from workbench.seeded_draws import SeededReports

DEFAULT = "musigma.module.AutoencoderModule"
"""The module of configs that name none, such as those of older versions."""


def assemble(config: Config, data: ImageDataModule) -> L.LightningModule:
    """The LightningModule of a run: an `AutoencoderModule`, or one of a user's own class.

    Raises:
        ConfigError: if its parts do not fit together.
    """
    settings = config.get("module") or {"_target_": DEFAULT}
    kind = target_of(settings, L.LightningModule, "module")
    hints = {name: argument.hint for name, argument in arguments_of(kind)[0].items()}
    arguments = {
        name: instantiate(value, hints.get(name, Any), f"module.{name}")
        for name, value in settings.items()
        if not name.startswith("_")
    }
    if is_foreign(kind):
        return _foreign_module(config, kind, arguments)
    model = build_model(config, data)
    objective = build_objective(config)
    arguments |= {
        "optimizer": instantiate(config["optimizer"], OptimizerRecipe, "optimizer"),
        "scheduler": instantiate(config.get("scheduler") or None, SchedulerRecipe, "scheduler"),
        "parameter_groups": config.get("parameter_groups"),
        "seed": config["seed"],
    }
    try:
        module: AutoencoderModule = kind(model, objective, **arguments)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    if config.get("compile", False):
        module.compile_training()
    return module


def _foreign_module(config: Config, kind: type, arguments: Mapping[str, Any]) -> L.LightningModule:
    reports = SeededReports(config.get("monitor") or "loss", config["seed"])
    try:
        module = adapted(kind, reports, arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"module: {kind.__name__}: {error}") from error
    if config.get("compile", False):
        for part in module.children():
            part.compile()  # in place, so that checkpoints keep their keys
    return module


def build_data(config: Config) -> ImageDataModule:
    """The data module of a run; nothing is read yet."""
    return adopt(config, instantiate(config["data"], L.LightningDataModule, "data"))


def adopt(config: Config, data: L.LightningDataModule) -> ImageDataModule:
    """The data module itself if it is an `ImageDataModule`, else a `ForeignDataModule` of it."""
    if isinstance(data, ImageDataModule):
        return data
    if type(data).__module__.startswith("lightning."):  # one of its examples downloads when built
        raise ConfigError(
            f"data._target_: {type(data).__name__} is an example of Lightning's; name another"
        )
    return ForeignDataModule(data)


def foreign_class(config: Mapping[str, Any]) -> str | None:
    """The name of a foreign module's class; None for an `AutoencoderModule`.

    Raises:
        ConfigError: if configs may not name the class.
    """
    name: str = (config.get("module") or {}).get("_target_", DEFAULT)
    return name if is_foreign(find_class(name, "module")) else None


def unused(config: Config) -> dict[str, str]:
    """Settings that a module of a user's own class ignores, with the reasons."""
    if not (name := foreign_class(config)):
        return {}
    reason = f"{name} has its own model and optimizers; its settings are module.…"
    groups = ("model", "optimizer", "scheduler", "parameter_groups")
    return {f"{group}{sign}": reason for group in groups for sign in "=./"}


def build_model(config: Config, data: ImageDataModule) -> LatentVariableModel:
    """The model of a run, for images of the data's shape.

    The argument `classes` of a model is the data's number of classes, if that is known, unless the
    config sets it.

    Raises:
        ConfigError: if the likelihood is not for the data's pixels, or the data have labels that
            the model does not take.
    """
    settings = {key: value for key, value in config["model"].items() if key != "objective"}
    takes = arguments_of(target_of(settings, LatentVariableModel, "model"))[0]
    if "classes" in takes and settings.get("classes") is None:
        settings.pop("classes", None)  # null, for which the class may have a better default
        settings |= {"classes": data.classes} if data.classes else {}
    model: LatentVariableModel = instantiate(
        settings, LatentVariableModel, "model", image_shape=data.image_shape
    )
    if data.classes:
        try:
            model.check(torch.arange(data.classes, device="cpu"))
        except DataError as error:
            raise ConfigError(f"model: {data.name} has {data.classes} classes: {error}") from error
    if isinstance(data, ForeignDataModule):  # its pixels are known only once they are read
        if data.is_prepared:
            check_pixels(data.first_batch().x, model.likelihood.pixels)
        return model
    pixels = data.normalization.pixels
    if pixels not in model.likelihood.pixels:
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is a density of "
            f"{' or '.join(model.likelihood.pixels)} pixels, and data.normalization gives "
            f"{pixels} pixels; change one of the two"
        )
    if model.likelihood.is_probability and isinstance(data.normalization, Dequantize):
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is the probability of grey "
            "levels, and data.normalization=dequantize adds noise to them: set it to unit"
        )
    return model


def build_objective(config: Config) -> Objective:
    """The objective of a run."""
    objective: Objective = instantiate(config["model"]["objective"], Objective, "model.objective")
    return objective


def may_not_change(config: Config) -> dict[str, str]:
    """Settings that a run keeps when it is resumed because of its objective, with the reasons."""
    if foreign_class(config):
        return {}
    objective = build_objective(config)
    if not objective.depends_on_batch_size:
        return {}
    kind = type(objective).__name__
    reason = f"the loss of {kind}, which selects the best checkpoint, depends on it"
    return {"data.eval_batch_size": reason}


def rules(config: Config) -> None:
    """Check settings that depend on one another.

    Raises:
        ConfigError: for weights of 16 bits in a model of this project, or for published values of
            unknown metrics.
    """
    precision = config["trainer"].get("precision")
    if precision in ("16-true", "bf16-true") and not foreign_class(config):
        raise ConfigError(
            f"trainer.precision: {precision} would keep weights in 16 bits, and codes and "
            "densities need 32; use bf16-mixed or 32-true"
        )
    check_published(config)
