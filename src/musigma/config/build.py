"""The objects of a run, from its config."""

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, OnExceptionCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from musigma.callbacks import HParams
from musigma.callbacks.unsuited import refuse_unsuited
from musigma.config.blame import blaming
from musigma.config.identity import flatten
from musigma.config.instantiate import instantiate
from musigma.config.settings import OptimizerRecipe, SchedulerRecipe
from musigma.config.targets import target_of
from musigma.config.trainer_rules import check_devices, check_precision
from musigma.data import ImageDataModule
from musigma.errors import ConfigError
from musigma.models import Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import Objective
from musigma.runs.folder import RunFolder
from musigma.runs.tracking import of_this_run

Config = dict[str, Any]
"""A resolved config: plain dicts, lists and values."""


def build_data(config: Config) -> ImageDataModule:
    """The data module; nothing is read yet."""
    data: ImageDataModule = instantiate(config["data"], ImageDataModule, "data")
    return data


def build_model(config: Config, data: ImageDataModule) -> Autoencoder:
    """The model, for images of the data's shape.

    Raises:
        ConfigError: if the likelihood is not for the data's pixels.
    """
    settings = {key: value for key, value in config["model"].items() if key != "objective"}
    model: Autoencoder = instantiate(settings, Autoencoder, "model", image_shape=data.image_shape)
    pixels = data.normalization.pixels
    if pixels not in model.likelihood.pixels:
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is a density of "
            f"{' or '.join(model.likelihood.pixels)} pixels, and data.normalization gives "
            f"{pixels} ones; change one of the two"
        )
    return model


def build_objective(config: Config) -> Objective:
    """What is minimised."""
    objective: Objective = instantiate(config["model"]["objective"], Objective, "model.objective")
    return objective


def build_module(config: Config, data: ImageDataModule) -> AutoencoderModule:
    """The LightningModule around the model."""
    model = build_model(config, data)
    objective = build_objective(config)
    optimizer = instantiate(config["optimizer"], OptimizerRecipe, "optimizer")
    scheduler = instantiate(config.get("scheduler") or None, SchedulerRecipe, "scheduler")
    try:
        module = AutoencoderModule(
            model, objective, optimizer=optimizer, scheduler=scheduler, seed=config["seed"]
        )
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    try:
        with blaming("optimizer or scheduler"):
            module.configure_optimizers()
    except TypeError as error:  # of how they are called
        raise ConfigError(f"optimizer or scheduler: {error}") from error
    if config.get("compile", False):
        for part in model.children():
            part.compile()  # in place, so that checkpoints keep their names
    return module


def build_trainer(config: Config, folder: Path, first_step: int | None = None) -> L.Trainer:
    """The Trainer with its callbacks and loggers, all of which write into `folder`.

    Where the run goes on from `first_step`, TensorBoard forgets what was logged from there on,
    and other loggers go on with the run that they had.

    Raises:
        ConfigError: if this machine cannot do what the trainer config asks for.
    """
    check_devices(config["trainer"])
    torch.set_float32_matmul_precision(config.get("matmul_precision", "highest"))
    spare_driver_lookups()
    callbacks = [*build_callbacks(config).values()]
    loggers = [
        instantiate(
            {**_of_this_run(logger, name, folder, first_step), **logger},
            Logger,
            f"logger.{name}",
            save_dir=str(folder),
        )
        for name, logger in (config.get("logger") or {}).items()
        if logger is not None
    ]
    for callback in callbacks:
        if isinstance(callback, OnExceptionCheckpoint):  # not the working directory's
            callback.dirpath = folder / callback.dirpath
    trainer: L.Trainer = instantiate(
        config["trainer"],
        L.Trainer,
        "trainer",
        callbacks=[*callbacks, HParams(compared_settings(config))],
        logger=loggers or False,
        default_root_dir=str(folder),
        # Without a checkpoint callback Lightning would add its own.
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
    )
    check_precision(config["trainer"].get("precision"), trainer.strategy.root_device.type)
    return trainer


def spare_driver_lookups() -> None:
    """Keep torch from looking for NVIDIA's driver at every optimizer step where there is no GPU.

    Lightning makes it do so, by an environment variable that it sets when it is imported.
    """
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


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
        refuse_unsuited(callback, place)
    return callbacks


def _of_this_run(logger: Config, name: str, folder: Path, first_step: int | None) -> Config:
    target = target_of(logger, Logger, f"logger.{name}")
    if target is TensorBoardLogger:
        return {} if first_step is None else {"purge_step": first_step}
    return {**of_this_run(target, RunFolder(folder))}


def compared_settings(config: Config) -> dict[str, Any]:
    """What runs are compared by: settings by dotted name, and classes by the place they fill.

    `{"model.latent_dim": 2, "model.likelihood": "Laplace", ...}`; what only says where and how
    a run is recorded is left out.
    """
    recorded = ("callbacks", "logger", "log_dir", "resume", "sweep", "varied")
    settings = flatten({key: value for key, value in config.items() if key not in recorded})
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
