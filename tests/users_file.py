"""A user's file, which `make lint` checks with mypy: the public API has the expected types."""

from pathlib import Path
from typing import Any, assert_type

import lightning as L
from torch import Tensor

import musigma
from musigma.data import ImageDataModule, MNISTDataModule
from musigma.models import MLP, Autoencoder, LatentVariableModel, Posterior
from musigma.module import AutoencoderModule, Prediction
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Laplace


def open_run(folder: Path) -> Tensor:
    """Codes of a trained run."""
    run = musigma.load_run(folder, "best", data={"root": "data"})
    assert_type(run.model, LatentVariableModel)
    assert_type(run.data, ImageDataModule)
    assert_type(run.config, dict[str, Any])
    batch = next(iter(run.data.test_dataloader()))
    posterior = run.model.encode(batch.x)
    assert_type(posterior, Posterior)
    mu, std = posterior
    return mu + std


def build_run() -> None:
    """Train from a config."""
    config = musigma.compose(["model=vae"])
    assert_type(config, dict[str, Any])
    built = musigma.build(config, "folder")
    assert_type(built.trainer, L.Trainer)
    assert_type(built.folder, Path)
    built.trainer.fit(built.module, built.data)


def train_by_hand(checkpoint: Path) -> Prediction:
    """Train, and open a checkpoint, without a config."""
    data = MNISTDataModule(source="sample")
    model = Autoencoder(MLP(), Laplace(), latent_dim=2, image_shape=data.image_shape)
    module = AutoencoderModule(model, ELBO(beta=0.5))
    L.Trainer(max_epochs=1).fit(module, data)
    opened = AutoencoderModule.load_from_checkpoint(checkpoint)
    assert_type(opened, AutoencoderModule)
    return opened.predict_step(next(iter(data.test_dataloader())), 0)
