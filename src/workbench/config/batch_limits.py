"""Count the batches that the trainer's limits leave of an epoch, and check that some are left."""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L

from workbench.errors import ConfigError
from workbench.loaders import batches_in_epoch, each_loader, length_of
from workbench.text import counted


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
    batches = batches_in_epoch(training)
    limit = trainer.limit_train_batches
    _check(overfit or "limit_train", limit, batches, "training")
    batches = _limited(batches, limit)
    for loader in each_loader(validation):
        limit = trainer.limit_val_batches
        _check(overfit or "limit_val", limit, length_of(loader), "validation")
    if isinstance(limit := trainer.limit_test_batches, float) and limit < 1:
        data.setup("test")
        for loader in each_loader(data.test_dataloader()):
            _check("limit_test", limit, length_of(loader), "test")
    # A time-based interval leaves the attribute unset.
    interval = getattr(trainer, "val_check_interval", None)
    over_epochs = trainer.check_val_every_n_epoch is None
    if isinstance(interval, int) and interval > batches and not over_epochs:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {counted(batches, 'batch')}, so "
            "set at most that, or add trainer.check_val_every_n_epoch=null to count across epochs"
        )
    return batches


def parts_measured(trainer: L.Trainer, metrics: Mapping[str, float]) -> dict[str, str]:
    """The share of the data of `val` and `test`, if not all: `{"val": "500 of 5,000 examples"}`."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    stages = {
        "val": (data.val_dataloader, trainer.limit_val_batches),
        "test": (data.test_dataloader, trainer.limit_test_batches),
    }
    parts = {
        stage: _part(each_loader(load()), limit, trainer.world_size)
        for stage, (load, limit) in stages.items()
        if any(name.startswith(f"{stage}/") for name in metrics)
    }
    return {stage: part for stage, part in parts.items() if part}


def _part(loaders: list[Any], limit: float, processes: int) -> str | None:
    """The part of evaluation data that a limit leaves of each loader; None if it leaves all."""
    taken = [_limited(length_of(loader), limit) for loader in loaders]
    if taken == [*map(length_of, loaders)]:
        return None
    examples = total = 0
    for loader, batches in zip(loaders, taken, strict=True):
        size = getattr(loader, "batch_size", None) or 0
        step = getattr(loader, "step_size", None) or size * processes
        if not step or math.isinf(length_of(loader)) or not hasattr(loader, "dataset"):
            return counted(sum(taken), "batch")
        total += len(loader.dataset)
        examples += min(int(batches) * step, len(loader.dataset))
    return f"{examples:,} of {total:,} examples"


def _limited(count: float, limit: float) -> float:
    """The batches of `count` that a number (int) or a share (float) of them leaves."""
    if isinstance(limit, int):
        return min(count, limit)
    if math.isinf(count):
        return count if limit else 0
    return int(count * limit)


def _check(setting: str, limit: float, count: float, which: str) -> None:
    """Raise a ConfigError if a limit leaves no batch, or is a share of an unknown number.

    Args:
        setting: its name, without `_batches`, such as `limit_val`.
        limit: a number of batches (int) or a share of an epoch (float).
        count: the batches in an epoch.
        which: of what.
    """
    setting = f"trainer.{setting}_batches={limit}"
    if math.isinf(count) and isinstance(limit, float) and 0 < limit < 1:
        raise ConfigError(
            f"{setting}: is a share of an epoch, and the {which} data have no length; set a "
            "number of batches"
        )
    if count and limit and not _limited(count, limit):
        least = math.ceil(10_000 / count) / 10_000  # rounded up, or it might leave none either
        some = "" if count == 1 else f"{least} or more, or "
        raise ConfigError(
            f"{setting}: leaves none of {counted(count, f'{which} batch')}; "
            f"set {some}a whole number of them"
        )
