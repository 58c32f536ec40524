"""What the parts of a run say of one another when they are put together, before it starts."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import lightning as L
import torch
from torch import nn

from musigma.config.build import build_callbacks, build_data, build_module
from musigma.config.instantiate import instantiate
from musigma.config.problem import Problem
from musigma.config.settings import OptimizerRecipe, SchedulerRecipe
from musigma.config.trainer_rules import check_precision, check_strategy
from musigma.data import ImageDataModule
from musigma.errors import ConfigError
from musigma.module import AutoencoderModule

MOST_EPOCHS = 1000
"""So many steps of a scheduler are tried."""


def find_misfits(config: dict[str, Any]) -> Iterator[Problem]:
    """The first thing that does not fit another."""
    try:
        trainer = config["trainer"]
        check_strategy(trainer.get("strategy"))
        check_precision(trainer.get("precision"), trainer.get("accelerator", "auto"))
        data = build_data(config)
        module = build_module({**config, "compile": False}, data)
        check_schedule(config)
        terms, settings = names_of_a_batch(module, data)
        measured = {f"{stage}/{name}" for stage in ("train", "val", "test") for name in terms}
        reported = measured | {f"train/{name}" for name in (*settings, "lr", "images_per_second")}
        check_monitors(build_callbacks(config), reported)
        asked = config.get("optimized_metric")
        if asked is not None and asked not in measured:
            raise ConfigError(f"optimized_metric={asked}: {no_such_metric(measured)}")
    except ConfigError as error:
        place, _, message = str(error).partition(":")
        yield Problem(place, f":{message}")


def names_of_a_batch(
    module: AutoencoderModule, data: ImageDataModule
) -> tuple[list[str], list[str]]:
    """The terms and the objective's settings that a batch of two random images reports.

    Raises:
        ConfigError: if they cannot be computed, or the objective compares the images of a batch
            and batches are of one.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": data.batch_size, "eval_batch_size": data.eval_batch_size}
    smallest = min(sizes, key=lambda name: sizes[name])
    count = min(2, sizes[smallest])
    grey = torch.randint(0, 256, (count, *data.image_shape), generator=generator)
    normalization = data.normalization
    x = normalization(normalization.prepare(grey.to(torch.uint8)), generator)
    noise = torch.randn(
        module.objective.samples, count, module.model.latent_dim, generator=generator
    )
    try:
        _, terms, settings = module.terms(x, noise, count, 0)
    except Exception as error:  # of whatever a network or an objective is made of
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"model: the loss of {count} images cannot be computed: {text}"
        ) from error
    if count == 1 and (undefined := [n for n, term in terms.items() if not term.isfinite().all()]):
        raise ConfigError(
            f"data.{smallest}=1: {undefined[0]} compares the images of a batch: take 2 or more"
        )
    return [*terms], [*settings]


def check_monitors(callbacks: Mapping[str, L.Callback], known: Collection[str]) -> None:
    """Check the names of the metrics that callbacks look at.

    Args:
        callbacks: by their places in the config.
        known: the metrics that are reported in training.

    Raises:
        ConfigError: if there is no metric of such a name.
    """
    for place, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and (monitor not in known or monitor.startswith("test/")):
            names = [name for name in known if not name.startswith("test/")]
            raise ConfigError(f"{place}.monitor={monitor}: {no_such_metric(names)}")


def check_schedule(config: dict[str, Any]) -> None:
    """Step the scheduler once an epoch, as training will, on a weight of its own.

    Raises:
        ConfigError: if it cannot be stepped so, or the learning rate is no longer one.
    """
    if not config.get("scheduler"):
        return
    weight = nn.Parameter(torch.zeros(1))
    optimizer = instantiate(config["optimizer"], OptimizerRecipe, "optimizer")([weight])
    scheduler = instantiate(config["scheduler"], SchedulerRecipe, "scheduler")(optimizer)
    epochs = config["trainer"].get("max_epochs") or MOST_EPOCHS
    for epoch in range(min(epochs, MOST_EPOCHS) if epochs > 0 else MOST_EPOCHS):
        try:
            optimizer.step(lambda: torch.zeros(()))
            scheduler.step()
        except Exception as error:  # of any arithmetic
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(
                f"scheduler: cannot be stepped after epoch {epoch + 1}: {text}"
            ) from error
        lr = optimizer.param_groups[0]["lr"]
        if not (math.isfinite(lr) and lr >= 0):
            raise ConfigError(f"scheduler: makes the learning rate {lr} after epoch {epoch + 1}")


def no_such_metric(known: Collection[str]) -> str:
    """The fault, and the names that there are."""
    return f"there is no such metric; there are {', '.join(sorted(known))}"
