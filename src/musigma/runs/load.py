"""Opening a run again."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from musigma.config.build import build_data, build_model, build_objective
from musigma.config.check import check_opened
from musigma.config.places import path_arguments, unnamed_places
from musigma.data import ImageDataModule
from musigma.errors import ConfigError, RunError
from musigma.models import Autoencoder
from musigma.objectives import Objective
from musigma.runs.folder import VERSION, RunFolder
from musigma.runs.records import one_line

WEIGHTS = "model.safetensors"
"""Where an exported run has its weights; it has no checkpoints."""


class Run(NamedTuple):
    """A run that was opened again: its model, its data and its config."""

    model: Autoencoder
    data: ImageDataModule
    config: dict[str, Any]

    def objective(self) -> Objective:
        """What the run minimised."""
        return build_objective(self.config)

    @torch.no_grad()
    def decoded(self, z: Tensor) -> Tensor:
        """Codes `[..., d]` → the mean images of p(x|z), `[..., C, H, W]` on the [0, 1] scale."""
        return self.data.normalization.shown(self.model.likelihood.mean(self.model.decode(z)))


def load_run(
    folder: str | Path, checkpoint: str = "best", data: Mapping[str, Any] | None = None
) -> Run:
    """The trained model of a run folder, in evaluation mode on the CPU, with its data and config.

    Opening runs no code of the folder's, and reads nothing outside of it.

    Args:
        folder: the run folder, or what was exported of one.
        checkpoint: `best` or `last`; an export holds one state only.
        data: where its data are here, such as `{"root": "/scratch/data"}` or `{"path": ...}`; by
            default where they were, if the run was trained on this machine.

    Raises:
        RunError: if the folder or the checkpoint is not there, cannot be read, or was written by
            a version whose models are not this one's. Data of a run from elsewhere raise it when
            they are read, unless `data` says where they are.
    """
    run = RunFolder.open(Path(folder))
    config = run.read_config()
    exported = run.path / WEIGHTS
    weights = load_weights(exported) if exported.exists() else _weights_of(run, checkpoint)
    try:
        check_opened(config)
        config["data"] |= _places_among(data or {}, config["data"])
        built = build_data(config)
        model = build_model(config, built)
        load_into(model, weights, run.path)
    except ConfigError as error:
        raise RunError(
            f"{run.path} does not open with musigma {VERSION}: {error}\n"
            f"It was written by musigma {run.written_by()}; environment.txt names the commit."
        ) from error
    said = {f"data.{name}" for name in data or {}}
    if reason := unnamed_places({"data": config["data"]}, run.path, said):
        _keep_from_reading(built, reason)
    return Run(model.eval(), built, config)


def load_into(model: nn.Module, weights: Mapping[str, Tensor], place: Path) -> None:
    """Give a model the weights of that place.

    Raises:
        RunError: if they are another model's; says what differs first.
    """
    if strange := [name for name, value in weights.items() if not _is_dense(value)]:
        raise RunError(f"The weights of {place} are damaged: {strange[0]} is not a plain tensor")
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]] or [one_line(error)]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise RunError(
            f"{place} does not fit the run's model: {faults[0].removesuffix('.')}{more}"
        ) from error


def _is_dense(value: Any) -> bool:
    """Whether it is a tensor whose numbers all lie in memory."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def _places_among(given: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    places = {*path_arguments(described), "mirrors"}
    if others := set(given).difference(places):
        raise RunError(
            f"data.{others.pop()} is the run's own; what can be given is where its data are: "
            f"{', '.join(f'data.{name}=...' for name in sorted(places))}"
        )
    return dict(given)


def _keep_from_reading(data: ImageDataModule, reason: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RunError(reason)

    data.prepare_data = data.setup = data.read = refuse  # type: ignore[method-assign,assignment]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU; it may hold tensors and plain values only.

    Raises:
        RunError: if it is not there, damaged, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as parts:  # torch itself does not look at the checksums
            damaged = parts.testzip()
        if damaged:
            raise RunError(f"{path} is damaged: the checksum of its part {damaged} is wrong")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict):
            raise RunError(f"{path} is not a checkpoint: it holds a {type(checkpoint).__name__}")
    except FileNotFoundError as error:
        raise RunError(
            f"There is no checkpoint {path}: did the run finish an epoch?\n"
            "If not, resume it. With callbacks.checkpoint=null a run keeps none: train it again "
            "without that setting."
        ) from error
    except RunError:
        raise
    except pickle.UnpicklingError as error:  # whose text tells how to run what the file holds
        raise RunError(
            f"{path} cannot be read as a checkpoint: it holds more than tensors and plain values"
        ) from error
    except Exception as error:
        raise RunError(f"{path} cannot be read as a checkpoint: {one_line(error)}") from error
    return checkpoint


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a safetensors file, by their names in the model, on the CPU.

    Raises:
        RunError: if it is not there or damaged.
    """
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"There are no weights {path}: was the run exported?") from error
    except Exception as error:
        raise RunError(
            f"{path} cannot be read as weights: {one_line(error)}; export again"
        ) from error


def _weights_of(run: RunFolder, checkpoint: str) -> dict[str, Tensor]:
    path = run.checkpoint(checkpoint)
    weights = load_checkpoint(path).get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise RunError(f"{path} is damaged: it holds no weights")
    return {key.removeprefix("model."): value for key, value in weights.items()}
