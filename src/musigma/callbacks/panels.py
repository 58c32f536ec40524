"""Panels in TensorBoard: reconstructions and the latent space, over training."""

import math
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from musigma.callbacks.panel import Panel, PanelInputs, evaluation_mode
from musigma.models import Posterior
from musigma.module import AutoencoderModule
from musigma.plots.images import pair_rows
from musigma.plots.latent import latent_plots
from musigma.plots.named import NamedPlot
from musigma.plots.style import viewable
from workbench.loggers import summary_writers
from workbench.ranges import Count, checked

LARGEST_SPRITE = 2048
"""The longest side, in pixels, of the single image in which TensorBoard's projector wants them all.

8192 would be allowed, but the projector shows each image small, and writing them takes several
copies in float64: 2 GiB for a thousand images of 128 × 128 × 3.
"""

LARGEST_BIN = 1e20
"""The largest value of which TensorBoard can write a histogram."""


class ImagePanel(Panel):
    """Images above their reconstructions from a sampled z.

    Args:
        every_n_epochs: the number of epochs from one panel to the next, starting with the first.
        images: the number of images, eight per row.
    """

    @checked
    def __init__(self, every_n_epochs: Count = 1, images: Count = 16) -> None:
        super().__init__(every_n_epochs, images)

    def show(self, writer: Any, inputs: PanelInputs, pl_module: AutoencoderModule) -> None:
        pairs = pair_rows(inputs.x, inputs.x_hat)
        writer.add_image(f"{inputs.stage}/reconstructions", pairs, inputs.step)


class LatentPanel(Panel):
    """Plots of the latent space, and histograms of mu and std.

    The plots are codes in a plane by class, the decoded plane or traversals, decoded draws from the
    prior, and the rate of each dimension, as far as they apply to the model. When training ends,
    codes, labels and images are written for the embedding projector, as files in the run folder.

    Args:
        every_n_epochs: the number of epochs from one panel to the next, starting with the first. A
            panel takes about a tenth of an epoch of the default model on two cores.
        images: the number of images.
    """

    @checked
    def __init__(self, every_n_epochs: Count = 5, images: Count = 1000) -> None:
        super().__init__(every_n_epochs, images)

    def compute(self, inputs: PanelInputs, pl_module: AutoencoderModule) -> Iterator[NamedPlot]:
        mu, std = _on_cpu(inputs.posterior)
        return latent_plots(
            mu,
            std if inputs.posterior.has_density else None,
            None if inputs.rates is None else inputs.rates.float().cpu(),
            inputs.y.cpu(),
            inputs.views,
            latent_dims=pl_module.model.latent_dims,
        )

    def show(self, writer: Any, inputs: PanelInputs, pl_module: AutoencoderModule) -> None:
        mu, std = _on_cpu(inputs.posterior)
        if not (torch.cat([mu, std]).abs() < LARGEST_BIN).all():
            return  # StopWhenNotFinite raises the error with the details
        # The projector shows principal components, and a decoded plane shows both dimensions.
        left_out = ("latent_pca", "traversals" if mu.shape[1] == 2 else "")
        for name, _, plot in self.compute(inputs, pl_module):
            if plot is not None and name not in left_out:
                figure = plot()
                figure.set_dpi(80)
                writer.add_figure(f"{inputs.stage}/{name}", figure, inputs.step)
        writer.add_histogram(f"{inputs.stage}/mu", mu, inputs.step)
        if inputs.posterior.has_density:
            writer.add_histogram(f"{inputs.stage}/std", std, inputs.step)

    def on_train_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        super().on_train_end(trainer, pl_module)
        for writer in summary_writers(trainer):
            with evaluation_mode(pl_module.model):
                inputs = self.inputs(trainer, pl_module)
            if inputs is None:
                return
            mu = inputs.posterior.mu
            writer.add_embedding(
                F.pad(mu, (0, max(0, 3 - mu.shape[1]))),  # the projector needs three dimensions
                metadata=inputs.y.tolist(),
                label_img=sprites(inputs.x),
                global_step=inputs.step,
                tag=f"{inputs.stage}_mu",
            )


def _on_cpu(posterior: Posterior) -> tuple[Tensor, Tensor]:
    """The mu and std of a posterior."""
    return posterior.mu.float().cpu(), posterior.std.float().cpu()


def sprites(x: Tensor) -> Tensor:
    """Images as squares of a size for the projector, `[N, C, H, W]` → `[N, 1 or 3, S, S]`."""
    *_, height, width = x.shape
    side = max(height, width)
    square = F.pad(viewable(x), (0, side - width, 0, side - height))
    fitting = LARGEST_SPRITE // math.ceil(len(x) ** 0.5)
    return square if side <= fitting else F.interpolate(square, size=fitting, mode="area")
