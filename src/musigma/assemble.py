"""From a config to the objects of a run, and what of them fits together."""

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
from workbench.parameter_groups import OptimizerRecipe
from workbench.project import Config
from workbench.schedules import SchedulerRecipe
from workbench.seeded_draws import SeededReports

DEFAULT = "musigma.module.AutoencoderModule"
"""The module of configs that do not say which, as those of older versions."""


def assemble(config: Config, data: ImageDataModule) -> L.LightningModule:
    """The LightningModule of a run: an `AutoencoderModule`, or of a class of the user's own.

    Raises:
        ConfigError: if its parts do not go together.
    """
    described = config.get("module") or {"_target_": DEFAULT}
    kind = target_of(described, L.LightningModule, "module")
    hints = {name: argument.hint for name, argument in arguments_of(kind)[0].items()}
    own = {
        name: instantiate(value, hints.get(name, Any), f"module.{name}")
        for name, value in described.items()
        if not name.startswith("_")
    }
    if is_foreign(kind):
        return _foreign(config, kind, own)
    model = build_model(config, data)
    objective = build_objective(config)
    optimizer = instantiate(config["optimizer"], OptimizerRecipe, "optimizer")
    scheduler = instantiate(config.get("scheduler") or None, SchedulerRecipe, "scheduler")
    settings = {
        "optimizer": optimizer,
        "scheduler": scheduler,
        "parameter_groups": config.get("parameter_groups"),
        "seed": config["seed"],
    }
    try:
        module: AutoencoderModule = kind(model, objective, **settings, **own)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    if config.get("compile", False):
        module.compile_training()
    return module


def _foreign(config: Config, kind: type, arguments: Mapping[str, Any]) -> L.LightningModule:
    reports = SeededReports(config.get("monitor") or "loss", config["seed"])
    try:
        module = adapted(kind, reports, arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"module: {kind.__name__}: {error}") from error
    if config.get("compile", False):
        for part in module.children():
            part.compile()  # in place, so that checkpoints keep their names
    return module


def build_data(config: Config) -> ImageDataModule:
    """The data module; nothing is read yet."""
    return adopt(config, instantiate(config["data"], L.LightningDataModule, "data"))


def adopt(config: Config, data: L.LightningDataModule) -> ImageDataModule:
    """A data module as one of this project: itself, or one of the user's own class in it."""
    if isinstance(data, ImageDataModule):
        return data
    if type(data).__module__.startswith("lightning."):  # its examples, one of which downloads
        raise ConfigError(f"data._target_: {type(data).__name__} is an example of Lightning's")
    return ForeignDataModule(data)


def unused(config: Config) -> dict[str, str]:
    """Settings that a module or data of the user's own take no notice of, with the reasons."""
    name = (config.get("module") or {}).get("_target_", DEFAULT)
    if not is_foreign(find_class(name, "module")):
        return {}
    reason = f"{name} has a model and optimizers of its own; its settings are module.…"
    groups = ("model", "optimizer", "scheduler", "parameter_groups")
    return {f"{group}{sign}": reason for group in groups for sign in "=./"}


def build_model(config: Config, data: ImageDataModule) -> LatentVariableModel:
    """The model, for images of the data's shape.

    One that takes a number of `classes`, and is not given it, gets the data's.

    Raises:
        ConfigError: if the likelihood is not for the data's pixels, or the model is told labels
            and there are others.
    """
    settings = {key: value for key, value in config["model"].items() if key != "objective"}
    if "classes" in arguments_of(target_of(settings, LatentVariableModel, "model"))[0]:
        settings["classes"] = settings.get("classes") or data.classes
    model: LatentVariableModel = instantiate(
        settings, LatentVariableModel, "model", image_shape=data.image_shape
    )
    if data.classes:
        try:
            model.check(torch.arange(data.classes, device="cpu"))
        except DataError as error:
            raise ConfigError(f"model: {data.name} has {data.classes} classes: {error}") from error
    if isinstance(data, ForeignDataModule):  # whose pixels are known by their values
        if data.is_prepared:
            check_pixels(data.first_batch().x, model.likelihood.pixels)
        return model
    pixels = data.normalization.pixels
    if pixels not in model.likelihood.pixels:
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is a density of "
            f"{' or '.join(model.likelihood.pixels)} pixels, and data.normalization gives "
            f"{pixels} ones; change one of the two"
        )
    if model.likelihood.is_probability and isinstance(data.normalization, Dequantize):
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is the probability of grey "
            "levels, and data.normalization=dequantize leaves none: take unit"
        )
    return model


def build_objective(config: Config) -> Objective:
    """The objective of a run."""
    objective: Objective = instantiate(config["model"]["objective"], Objective, "model.objective")
    return objective


def rules(config: Config) -> None:
    """Check settings that may not fit one another.

    Raises:
        ConfigError: for it.
    """
    weights_in_32_bits(config)
    check_published(config)


def weights_in_32_bits(config: Config) -> None:
    """Refuse weights of 16 bits, as codes and densities are computed in 32.

    Raises:
        ConfigError: for such a precision.
    """
    precision = config["trainer"].get("precision")
    if precision in ("16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision: {precision} would keep weights in 16 bits too, and codes and "
            "densities need 32; take bf16-mixed or 32-true"
        )
