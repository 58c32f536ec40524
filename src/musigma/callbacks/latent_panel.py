"""The latent space over training, and at its end to walk around in."""

import math
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from musigma.callbacks.panel import Panel, Seen, looking_at
from musigma.figures.latent_space import latent_drawings
from musigma.figures.style import viewable
from musigma.module import AutoencoderModule
from workbench.callbacks.boards import boards
from workbench.ranges import Count, checked

LARGEST_SPRITE = 8192
"""The longest side, in pixels, of the one picture that TensorBoard's projector takes all from."""

LARGEST_BIN = 1e20
"""TensorBoard has no histogram of values beyond it, nor of what is no number."""


class LatentPanel(Panel):
    """Shows TensorBoard the latent space: pictures of it, and histograms of mu and std.

    Codes in a plane by class, what the plane or single dimensions decode to, decoded draws from
    the prior, and the rate of each dimension; of these what means something for the model. When
    training ends the codes, with labels and images, go to the embedding projector, which keeps
    them as files in the run folder.

    Args:
        every_n_epochs: how often, from the first epoch on; once more at the end. One costs
            about a tenth of an epoch of the default model on two cores.
        images: how many of them.
    """

    @checked
    def __init__(self, every_n_epochs: Count = 5, images: Count = 1000) -> None:
        super().__init__(every_n_epochs, images)

    def show(self, board: Any, seen: Seen, pl_module: AutoencoderModule) -> None:
        """Draw a panel."""
        mu, std = (part.float().cpu() for part in seen.posterior)
        if not (torch.cat([mu, std]).abs() < LARGEST_BIN).all():
            return  # stop_when_not_finite says it better
        has_std = pl_module.model.posterior == "normal"
        # The projector has the components, and where there is a plane it has both dimensions.
        left_out = ("latent_pca", "traversals" if mu.shape[1] == 2 else "")
        for drawing in latent_drawings(
            mu,
            std if has_std else None,
            seen.y.cpu(),
            seen.decoded,
            has_prior=pl_module.objective.uses_prior,
        ):
            if drawing.draw is not None and drawing.name not in left_out:
                figure = drawing.draw()
                figure.set_dpi(80)
                board.add_figure(f"{seen.stage}/{drawing.name}", figure, seen.step)
        board.add_histogram(f"{seen.stage}/mu", mu, seen.step)
        if has_std:
            board.add_histogram(f"{seen.stage}/std", std, seen.step)

    def on_train_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Draw the last panel, and hand the codes to the projector."""
        super().on_train_end(trainer, pl_module)
        for board in boards(trainer):
            with looking_at(pl_module.model):
                seen = self.seen(trainer, pl_module)
            mu = seen.posterior.mu
            board.add_embedding(
                F.pad(mu, (0, max(0, 3 - mu.shape[1]))),  # of fewer than three it shows nothing
                metadata=seen.y.tolist(),
                label_img=sprites(seen.x),
                global_step=seen.step,
                tag=f"{seen.stage}_mu",
            )


def sprites(x: Tensor) -> Tensor:
    """Images as squares that fit into the projector's one picture, `[N, C, H, W]` → `[N, C, S, S]`.

    C is 1 or 3 afterwards.
    """
    *_, height, width = x.shape
    side = max(height, width)
    square = F.pad(viewable(x), (0, side - width, 0, side - height))
    fitting = LARGEST_SPRITE // math.ceil(len(x) ** 0.5)
    return square if side <= fitting else F.interpolate(square, size=fitting, mode="area")
