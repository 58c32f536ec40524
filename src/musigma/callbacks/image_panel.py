"""A first look: originals and their reconstructions, over training."""

from typing import Any

from musigma.callbacks.panel import Panel, Seen
from musigma.figures import pair_rows
from musigma.module import AutoencoderModule
from musigma.seeding import normal_noise
from workbench.ranges import Count, checked


class ImagePanel(Panel):
    """Shows TensorBoard images above their reconstructions from a sampled z.

    Args:
        every_n_epochs: how often a panel is drawn, from the first epoch on; once more at the end.
        images: how many images, eight a row.
    """

    @checked
    def __init__(self, every_n_epochs: Count = 1, images: Count = 16) -> None:
        super().__init__(every_n_epochs, images)

    def show(self, board: Any, seen: Seen, pl_module: AutoencoderModule) -> None:
        """Draw a panel."""
        mu = seen.posterior.mu
        noise = normal_noise(*mu.shape, seed=0).to(mu)
        x_hat = seen.decoded(seen.posterior.rsample(noise))
        board.add_image(f"{seen.stage}/reconstructions", pair_rows(seen.x, x_hat), seen.step)
