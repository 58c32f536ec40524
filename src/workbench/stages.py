"""The stages of a run in which metrics are measured, and their names."""

import re
from typing import Literal

import lightning as L

Stage = Literal["train", "val", "test"]

PREFIXES: dict[Stage, str] = {
    "train": "train|training",
    "val": "val|valid|validation",
    "test": "test|testing",
}
"""Prefixes that modules give to the names of metrics of each stage, as patterns."""


def without_stage(name: str, stage: Stage) -> str:
    """The name of a metric without its stage: `val_loss`, `val/loss` and `loss` are `loss`."""
    return re.sub(rf"^({PREFIXES[stage]})[/_.\-\s]+(?=.)", "", name)


def stage_of(trainer: L.Trainer | None) -> Stage | None:
    """What a trainer does now; None if it does something else."""
    if trainer is None:
        return None
    stages: dict[Stage, bool] = {
        "train": trainer.training,
        "val": trainer.validating or trainer.sanity_checking,
        "test": trainer.testing,
    }
    return next((stage for stage, is_now in stages.items() if is_now), None)
