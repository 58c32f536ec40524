"""The stages of a run in which metrics are measured, and their names."""

import re
from typing import Literal

import lightning as L
from lightning.pytorch.trainer.states import RunningStage

Stage = Literal["train", "val", "test"]

PREFIXES: dict[Stage, str] = {
    "train": "train|training",
    "val": "val|valid|validation",
    "test": "test|testing",
}
"""Prefixes that modules give to the names of metrics of each stage, as patterns."""

STAGES: dict[RunningStage | None, Stage] = {
    RunningStage.TRAINING: "train",
    RunningStage.SANITY_CHECKING: "val",
    RunningStage.VALIDATING: "val",
    RunningStage.TESTING: "test",
}


def without_stage(name: str, stage: Stage) -> str:
    """The name of a metric without its stage: `val_loss`, `val/loss` and `loss` are `loss`."""
    return re.sub(rf"^({PREFIXES[stage]})[/_.\-\s]+(?=.)", "", name)


def stage_of(trainer: L.Trainer | None) -> Stage | None:
    """What a trainer does now; None if it does something else."""
    return STAGES.get(trainer.state.stage) if trainer is not None else None
