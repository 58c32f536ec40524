"""Count the batches that the trainer's limits leave of an epoch, and check that some are left."""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L

from workbench.errors import ConfigError


def read_data(data: L.LightningDataModule, trainer: L.Trainer) -> float:
    """Read the data for training; return the batches in an epoch, infinity if that is not known.

    Raises:
        DataError: if the data cannot be read.
        ConfigError: if an epoch has too few batches or examples for the trainer's settings.
    """
    data.trainer = trainer
    data.setup("fit")
    try:
        training, validation = data.train_dataloader(), data.val_dataloader()
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error
    # `overfit_batches` sets both limits.
    overfit = "overfit" if getattr(trainer, "overfit_batches", 0) else None
    batches = _batches(overfit or "limit_train", batches_of(training), trainer.limit_train_batches)
    _batches(overfit or "limit_val", batches_of(validation), trainer.limit_val_batches)
    if isinstance(limit := trainer.limit_test_batches, float) and limit < 1:
        data.setup("test")
        _batches("limit_test", batches_of(data.test_dataloader()), limit)
    # A time-based interval leaves the attribute unset.
    interval = getattr(trainer, "val_check_interval", None)
    over_epochs = trainer.check_val_every_n_epoch is None
    if isinstance(interval, int) and interval > batches and not over_epochs:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} batches, so set "
            "at most that, or add trainer.check_val_every_n_epoch=null to count across epochs"
        )
    return batches


def parts_measured(trainer: L.Trainer, metrics: Mapping[str, float]) -> dict[str, str]:
    """The share of the data of `val` and `test`, if not all: `{"val": "500 of 5,000 examples"}`."""
    parts = {}
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    stages = {
        "val": (data.val_dataloader, trainer.limit_val_batches),
        "test": (data.test_dataloader, trainer.limit_test_batches),
    }
    for stage, (load, limit) in stages.items():
        if not any(name.startswith(f"{stage}/") for name in metrics):
            continue
        loader = load()
        count = batches_of(loader)
        taken = _batches(f"limit_{stage}", count, limit)
        if not 0 < taken < count:
            continue
        size = getattr(loader, "batch_size", None) or 0
        step = getattr(loader, "step_size", None) or size * trainer.world_size
        if step and math.isfinite(count):
            parts[stage] = f"{taken * step:,} of {len(loader.dataset):,} examples"
        else:
            parts[stage] = f"{taken:,} batches"
    return parts


def batches_of(loader: Any) -> float:
    """The batches of a loader, or of several in all; infinity if one of them has no length."""
    if isinstance(loader, Mapping):
        loader = [*loader.values()]
    if isinstance(loader, list | tuple):
        return sum(map(batches_of, loader))
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # an IterableDataset
        return math.inf


def _batches(setting: str, count: float, limit: float) -> float:
    """The number of batches that a limit of the trainer leaves.

    Args:
        setting: the name of the setting, without `_batches`, such as `limit_val`.
        count: the batches in an epoch.
        limit: the limit, as a number of batches (int) or a share of an epoch (float).

    Raises:
        ConfigError: if the limit leaves no batch, or is a share of an unknown number.
    """
    if math.isinf(count) and isinstance(limit, float):
        if 0 < limit < 1:
            raise ConfigError(
                f"trainer.{setting}_batches={limit}: is a share of an epoch, and the data have "
                "no length; set a number of batches"
            )
        return count if limit else 0
    taken = min(count, limit) if isinstance(limit, int) else int(count * limit)
    if count and limit and not taken:
        raise ConfigError(
            f"trainer.{setting}_batches={limit}: leaves none of {count} batches; set "
            f"{1 / count:.3g} or more, or a whole number of batches"
        )
    return taken
