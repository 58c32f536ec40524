"""Open a trained run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from musigma.assemble import build_data, build_model, build_objective, foreign_class
from musigma.data import ImageDataModule
from musigma.evaluation.conditions import LabelledImages, View
from musigma.models import LatentVariableModel
from musigma.models.priors import Prior
from musigma.objectives import Objective
from musigma.project import PROJECT
from musigma.settings import OpenedSettings
from workbench.config.check import check_config
from workbench.config.places import path_arguments, unnamed_places
from workbench.devices import find_device
from workbench.errors import ConfigError, RunError
from workbench.runs.folder import RunFolder
from workbench.runs.weights import WEIGHTS, load_checkpoint, load_into, load_weights

FITTED = "a density fitted to the codes"


class Run(NamedTuple):
    """A trained run: its model, its data and its config."""

    model: LatentVariableModel
    data: ImageDataModule
    config: dict[str, Any]

    def objective(self) -> Objective:
        """The objective that the run minimised."""
        return build_objective(self.config)

    def _fitted_prior(self) -> Prior:
        from musigma.evaluation.probes import Codes, fitting_subset  # it imports scikit-learn
        from musigma.models.priors.fitted_mixture import FittedMixture

        mu = fitting_subset(Codes(*self.codes("train"))).mu
        return self.model.fitted_prior(mu) if self.model.fits_prior else FittedMixture(mu)

    @torch.no_grad()
    def codes(self, name: Literal["train", "val"]) -> tuple[Tensor, Tensor]:
        """The codes mu `[N, d]` and labels `[N]` of training or validation images, on the CPU."""
        self.data.prepare_data()
        self.data.setup("fit")
        loader = self.data.evaluation_loader(name)
        if isinstance(loader, list):  # no images are held out
            return torch.empty(0, self.model.latent_dim), torch.empty(0)
        mus, labels = [], []
        for batch in loader:
            images = LabelledImages(batch.x, batch.y).to(self.model.device)
            mus.append(self.model.given(images).encode(images.x).mu.cpu())
            labels.append(batch.y.cpu())
        return torch.cat(mus), torch.cat(labels)

    @torch.no_grad()
    def decoded(self, z: Tensor, model: LatentVariableModel | None = None) -> Tensor:
        """Decode codes `[..., d]` to images `[..., C, H, W]` on the [0, 1] scale, on the CPU.

        For a model that is conditioned on something, pass `model.given(batch)` or one of its views.
        """
        images = (self.model if model is None else model).images_of(z.to(self.model.device))
        return self.data.normalization.shown(images).cpu()

    def views(self) -> dict[str, View]:
        """The model's views by caption: how each decodes, and the density of its new codes.

        The density is p(z), or one that is fitted to the codes of training images in this call, or
        None if the objective did not use a prior.
        """
        objective, views = self.objective(), self.model.views()
        is_fitted = objective.fits_prior or self.model.fits_prior
        fitted = self._fitted_prior() if is_fitted else None
        return {
            name: View(
                partial(self.decoded, model=view),
                view.prior if objective.uses_prior and not is_fitted else fitted,
                FITTED if is_fitted else "the prior",
            )
            for name, view in views.items()
        }


def load_run(
    folder: str | Path,
    checkpoint: str = "best",
    data: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Run:
    """Open the trained model of a run folder, in evaluation mode, with its data and config.

    This runs no code of the folder, and reads nothing outside of it. The data's loaders return
    batches on the model's device.

    Args:
        folder: the run folder, or an export of one.
        checkpoint: `best`, `last`, `previous`, or the name or path of another checkpoint; an export
            holds only one.
        data: the location of the data, such as `{"root": "/scratch/data"}` or `{"path": ...}`; by
            default that in the config, if the run was trained on this machine.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` for the first GPU, or the CPU without one.

    Raises:
        ConfigError: if this machine does not have the device.
        RunError: if the folder or the checkpoint does not exist, cannot be read, or was written by
            an incompatible version. The data of a run from another machine raise it when they are
            read, unless `data` gives their location.
    """
    torch_device = find_device(device)
    run = RunFolder.open(Path(folder))
    config = run.read_config()
    exported = run.path / WEIGHTS
    if exported.exists() and checkpoint not in ("best", "last"):
        raise RunError(f"{run.path} is an export, which has no checkpoint {checkpoint}")
    weights = load_weights(exported) if exported.exists() else _model_weights(run, checkpoint)
    _check_not_foreign(config, run.path)
    try:
        _check_settings(config)
        _set_paths(config, data or {})
        datamodule = build_data(config)
        given = {f"data.{name}" for name in data or {}}
        if reason := unnamed_places({"data": config["data"]}, run.path, given):
            _forbid_reading(datamodule, reason)
        model = build_model(config, datamodule)
        load_into(model, weights, run.path)
    except ConfigError as error:
        raise RunError(
            f"{run.path} does not open with {PROJECT.package} {PROJECT.version}: {error}\n"
            f"It was written by {PROJECT.package} {run.written_by()}; environment.txt names the "
            "commit."
        ) from error
    datamodule.device = torch_device
    return Run(model.eval().to(torch_device), datamodule, config)


def _check_not_foreign(config: Mapping[str, Any], folder: Path) -> None:
    """Raise a RunError if the run's module is foreign, without a model of this project."""
    try:
        name = foreign_class(config)
    except ConfigError:  # its package is not trusted here; loading the weights will tell
        return
    if name:
        best = folder / "checkpoints" / "best.ckpt"
        raise RunError(
            f"{folder} is a run of {name}, not of a model of {PROJECT.package}, and evaluate, "
            f"predict and export do not apply. Open it with {name.rpartition('.')[2]}."
            f"load_from_checkpoint({str(best)!r})"
        )


def _set_paths(config: dict[str, Any], given: Mapping[str, Any]) -> None:
    paths = {*path_arguments(config["data"]), "mirrors"}
    if others := set(given).difference(paths):
        raise RunError(
            f"data.{others.pop()} cannot be changed for a trained run; only the location of its "
            f"data can: {', '.join(f'data.{name}=...' for name in sorted(paths))}"
        )
    config["data"] |= given
    try:
        _check_settings(config)
    except ConfigError as error:
        raise RunError(str(error)) from error


def _check_settings(config: Mapping[str, Any]) -> None:
    parts = {name: config[name] for name in ("data", "model") if name in config}
    check_config(parts, OpenedSettings)


def _forbid_reading(data: ImageDataModule, reason: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RunError(reason)

    data.prepare_data = data.setup = data.read = refuse  # type: ignore[method-assign,assignment]


def _model_weights(run: RunFolder, checkpoint: str) -> dict[str, Tensor]:
    path = run.checkpoint(checkpoint)
    weights = load_checkpoint(path).get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise RunError(f"{path} is damaged: it holds no weights")
    prefix = "model."  # there may be weights of the objective too
    return {key[len(prefix) :]: v for key, v in weights.items() if key.startswith(prefix)}
