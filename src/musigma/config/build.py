"""The objects of a run, from its config."""

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from musigma.callbacks import HParams
from musigma.callbacks.unsuited import refuse_unsuited
from musigma.config.identity import flatten
from musigma.config.instantiate import instantiate
from musigma.config.settings import OptimizerRecipe, SchedulerRecipe
from musigma.config.targets import target_of
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
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
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


def read_images(data: ImageDataModule, trainer: L.Trainer) -> None:
    """Read what training needs, and check that the trainer can share it out.

    Raises:
        DataError: if images cannot be read.
        ConfigError: if an epoch has too few batches or images for the trainer's settings.
    """
    data.trainer = trainer
    data.setup("fit")
    try:
        training, validation = data.train_dataloader(), data.val_dataloader()
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error
    batches = _batches("train", len(training), trainer.limit_train_batches)
    _batches("val", len(validation), trainer.limit_val_batches)
    interval = trainer.val_check_interval
    over_epochs = trainer.check_val_every_n_epoch is None
    if isinstance(interval, int) and interval > batches and not over_epochs:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} batches, so take at "
            "most that, or add trainer.check_val_every_n_epoch=null to count over epochs"
        )


def _batches(stage: str, count: int, limit: float) -> int:
    """How many of an epoch's batches are taken: so many, or such a share of them."""
    taken = min(count, limit) if isinstance(limit, int) else int(count * limit)
    if count and limit and not taken:
        raise ConfigError(
            f"trainer.limit_{stage}_batches={limit}: of {count} batches that is none; take "
            f"{1 / count:.3g} or more, or a whole number of batches"
        )
    return taken


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


def check_precision(precision: str | int | None, device: str) -> None:
    """Hold a precision against the kind of device; where that is not known yet, say "auto".

    Raises:
        ConfigError: for 16-bit floats on a CPU, where Lightning would quietly take others, and for
            weights of 16 bits, as codes and densities are computed in 32.
    """
    if str(precision).startswith("16") and device == "cpu":
        raise ConfigError(
            f"trainer.precision: {precision} is for GPUs; on the CPU take bf16-mixed or 32-true"
        )
    if precision in ("16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision: {precision} would keep weights in 16 bits too, and codes and "
            "densities need 32; take bf16-mixed or 32-true"
        )


def check_strategy(strategy: Any) -> None:
    """Check that a strategy's processes run the script, as `ddp` has them do.

    Raises:
        ConfigError: for processes that hand back no metrics.
    """
    if isinstance(strategy, str) and strategy.endswith(("_spawn", "_fork", "_notebook")):
        raise ConfigError(
            f"trainer.strategy: the processes of {strategy} keep their metrics to themselves; "
            "take ddp"
        )


def check_devices(trainer: Config) -> None:
    """Check that there are as many cores as there will be processes on the CPU.

    Raises:
        ConfigError: if there are fewer.
    """
    devices = trainer.get("devices", "auto")
    count = int(devices) if str(devices).isdigit() else 1
    on_gpu = trainer.get("accelerator", "auto") != "cpu" and torch.cuda.is_available()
    cores = os.cpu_count() or 1
    if count > max(cores, 2) and not on_gpu:
        raise ConfigError(
            f"trainer.devices={devices}: would start {count} processes, and this machine has "
            f"{cores} cores and no GPU that the trainer would take"
        )


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
