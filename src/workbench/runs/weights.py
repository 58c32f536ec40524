"""Reading checkpoints and weights: only tensors and plain values, never code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from workbench.errors import RunError, one_line

WEIGHTS = "model.safetensors"
"""The file of weights of an exported run, which has no checkpoints."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint on the CPU; a RunError unless it holds tensors and plain values only."""
    try:
        with zipfile.ZipFile(path) as parts:  # torch does not verify checksums
            if sum(part.file_size for part in parts.infolist()) > path.stat().st_size:
                raise RunError(f"{path} is not a checkpoint: it unpacks to more bytes than it has")
            damaged = parts.testzip()
        if damaged:
            raise RunError(f"{path} is damaged: the checksum of its part {damaged} is wrong")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict):
            raise RunError(f"{path} is not a checkpoint: it holds a {type(checkpoint).__name__}")
    except FileNotFoundError as error:
        raise RunError(
            f"There is no checkpoint {path}: did the run finish an epoch?\n"
            "If not, resume it. With callbacks.checkpoint=null or trainer.fast_dev_run a run keeps "
            "none: train it again without that setting."
        ) from error
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"{path} cannot be read as a checkpoint: {one_line(error)}") from error
    return checkpoint


def is_best_by_metric(checkpoint: Mapping[str, Any]) -> bool:
    """True if the weights in a checkpoint are the best by a metric, not just the last."""
    callbacks = checkpoint.get("callbacks")
    states = callbacks.values() if isinstance(callbacks, Mapping) else ()
    mappings = [state for state in states if isinstance(state, Mapping)]
    ours = [state["best"] for state in mappings if "best" in state]
    lightnings = [state["best_model_score"] for state in mappings if "best_model_score" in state]
    was_validated = bool(checkpoint.get("validation", True))  # absent before version 0.2
    return was_validated and all(score is not None for score in ours or lightnings)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Load the weights of a safetensors file, by name, on the CPU; a RunError if it is damaged."""
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"There are no weights {path}: was the run exported?") from error
    except Exception as error:
        text = f"{path} cannot be read as weights: {one_line(error)}; export again"
        raise RunError(text) from error


def load_into(model: nn.Module, weights: Mapping[str, Tensor], place: Path) -> None:
    """Load weights from `place` into a model; a RunError says what differs if they do not fit."""
    if broken := [name for name, value in weights.items() if not is_weight(name, value)]:
        raise RunError(f"The weights of {place} are damaged: {broken[0]} is not a plain tensor")
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]] or [one_line(error)]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise RunError(
            f"{place} does not fit the run's model: {faults[0].removesuffix('.')}{more}"
        ) from error


def is_weight(name: Any, value: Any) -> bool:
    """True for a name with a dense tensor that has values."""
    is_dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    return isinstance(name, str) and is_dense
