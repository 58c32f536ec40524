"""A first look: originals and their reconstructions, over training."""

from typing import Any

import lightning as L
import torch

from musigma.callbacks.boards import boards
from musigma.figures import pair_rows
from musigma.module import AutoencoderModule
from musigma.ranges import Count, checked
from musigma.seeding import normal_noise


class ImagePanel(L.Callback):
    """Shows TensorBoard validation images above their reconstructions from a sampled z.

    Always the same images and the same noise, so that the slider over steps shows learning.

    Args:
        every_n_epochs: how often a panel is drawn.
        images: how many images, eight a row.
    """

    @checked
    def __init__(self, every_n_epochs: Count = 1, images: Count = 16) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Draw a panel."""
        is_due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        writers = boards(trainer)
        if not writers or not is_due or trainer.sanity_checking or not trainer.is_global_zero:
            return
        loader: Any = trainer.val_dataloaders
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        x = next(iter(loader)).x[: self.images]
        model = pl_module.model
        noise = normal_noise(len(x), model.latent_dim, seed=0).to(x.device)
        x_hat = model.likelihood.mean(model.decode(model.encode(x).rsample(noise)))
        to_unit = data.normalization.to_unit
        panel = pair_rows(to_unit(x), to_unit(x_hat))
        for board in writers:
            board.add_image("val/reconstructions", panel, trainer.global_step - 1)
