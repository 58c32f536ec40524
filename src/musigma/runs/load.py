"""Opening a run again."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from musigma.config.build import build_data, build_model
from musigma.data import ImageDataModule
from musigma.errors import RunError
from musigma.models import Autoencoder
from musigma.runs.folder import RunFolder


class Run(NamedTuple):
    """A run that was opened again: its model, its data and its config."""

    model: Autoencoder
    data: ImageDataModule
    config: dict[str, Any]


def load_run(folder: str | Path, checkpoint: str = "best") -> Run:
    """The trained model of a run folder, in evaluation mode on the CPU, with its data and config.

    Args:
        folder: the run folder.
        checkpoint: `best` or `last`.

    Raises:
        RunError: if the folder or the checkpoint is not there or cannot be read.
    """
    run = RunFolder.open(Path(folder))
    config = run.read_config()
    data = build_data(config)
    model = build_model(config, data)
    weights = load_checkpoint(run.checkpoint(checkpoint))["state_dict"]
    model.load_state_dict({key.removeprefix("model."): value for key, value in weights.items()})
    return Run(model.eval(), data, config)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU; it may hold tensors and plain values only.

    Raises:
        RunError: if it is not there, damaged, or holds anything else.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"There is no checkpoint {path}: did the run finish an epoch?") from error
    except Exception as error:
        raise RunError(f"{path} cannot be read as a checkpoint: {error}") from error
    return checkpoint
