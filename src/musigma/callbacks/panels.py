"""Panels in TensorBoard: reconstructions and the latent space, over training."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musigma.data import Batch, ImageDataModule
from musigma.data.batch import as_batch
from musigma.evaluation.encoding import LabelledImages, View
from musigma.models import LatentVariableModel, Posterior
from musigma.module import AutoencoderModule
from musigma.plots.images import pair_rows
from musigma.plots.latent import latent_plots
from musigma.plots.named import NamedPlot
from musigma.plots.style import viewable
from musigma.seeding import FIXED_SEED, normal_noise
from workbench.callbacks.summary_writers import summary_writers
from workbench.ranges import Count, checked

LARGEST_SPRITE = 2048
"""The longest side, in pixels, of the one image that TensorBoard's projector takes all from.

It would take 8192, but it shows each image small, and while that is written its pixels are held
several times over in float64: 2 GiB for a thousand images of 128 × 128 × 3.
"""

MOST_NUMBERS = 20_000_000
"""The most numbers in a panel's images: 80 MB, which are held several times over."""

LARGEST_BIN = 1e20
"""TensorBoard has no histogram of values beyond it, nor of NaN."""


class PanelInputs(NamedTuple):
    """Images, labels, posterior and decoders for one panel.

    Args:
        stage: `val`, or where no images are held out `train`.
        step: the last optimizer step, counted from 0.
        x: the images, `[N, C, H, W]` in [0, 1].
        y: their labels, `[N]`.
        posterior: of each.
        rates: the rate of each of its dimensions, `[N, d]`; None if it is no sum over them.
        x_hat: reconstructions from a draw of z each, like `x`.
        views: the model for codes of no image, once for each view of it.
    """

    stage: Literal["train", "val"]
    step: int
    x: Tensor
    y: Tensor
    posterior: Posterior
    rates: Tensor | None
    x_hat: Tensor
    views: Mapping[str, View]


class Panel(L.Callback):
    """Shows TensorBoard something of the first images that are held out.

    It does so after the first epoch, every n epochs from there, and when training ends. Always
    the same images and the same noise, so that the slider over steps shows learning. What
    training does next stays the same to the bit.

    Args:
        every_n_epochs: how often.
        images: how many, or where these would be more than 20 million numbers, fewer; if none are
            held out, they are training images.
    """

    only_shows: ClassVar[bool] = True

    def __init__(self, every_n_epochs: int, images: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self._last_step = 0
        self._kept: dict[str, list[Batch]] = {"train": [], "val": []}

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: AutoencoderModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        self._keep("val", trainer, pl_module, batch)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: AutoencoderModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        self._keep("train", trainer, pl_module, batch)

    def on_sanity_check_end(self, *_: object) -> None:
        self._kept["val"] = []

    def _keep(self, name: str, trainer: L.Trainer, module: AutoencoderModule, batch: Any) -> None:
        """Keep the first images that a loader gave, where no data module of ours has them."""
        lacking = self._count(module.model) - sum(len(kept.x) for kept in self._kept[name])
        if lacking > 0 and not isinstance(trainer.datamodule, ImageDataModule):  # type: ignore[attr-defined]
            x, y, _ = as_batch(batch, module.model.image_shape, module.dtype)
            self._kept[name].append(Batch(x[:lacking].clone(), y[:lacking].clone(), None))

    def _count(self, model: LatentVariableModel) -> int:
        """The number of images that it shows."""
        return min(self.images, max(1, MOST_NUMBERS // math.prod(model.image_shape)))

    @abstractmethod
    def show(self, board: Any, inputs: PanelInputs, pl_module: AutoencoderModule) -> None:
        """Write the panel to a `SummaryWriter`."""

    def compute(self, inputs: PanelInputs, pl_module: AutoencoderModule) -> Iterable[Any]:
        """The contents of the panel before they are plotted, as far as they may fail."""
        return ()

    def rehearse(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Compute the contents once before training, so that what fails does so then."""
        with evaluation_mode(pl_module.model):
            if summary_writers(trainer) and (inputs := self.inputs(trainer, pl_module)):
                list(self.compute(inputs, pl_module))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        if trainer.current_epoch % self.every_n_epochs == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        if trainer.global_step != self._last_step:
            self._show(trainer, pl_module)

    def _show(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        self._last_step = trainer.global_step
        for board in summary_writers(trainer):
            with evaluation_mode(pl_module.model):
                if inputs := self.inputs(trainer, pl_module):
                    self.show(board, inputs, pl_module)

    def inputs(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> PanelInputs | None:
        """The images, with their posteriors under the present weights; None before there are any.

        Without a data module of ours nobody knows how pixels were normalised: they are shown as
        they are if they lie in [0, 1], and else from the smallest to the largest of them.
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        model = pl_module.model
        shown: Callable[[Tensor], Tensor]
        if isinstance(data, ImageDataModule):
            stage, images, labels = data.first_images(self._count(model))
            shown = data.normalization.shown
        elif kept := self._kept["val"] or self._kept["train"]:
            stage = "val" if self._kept["val"] else "train"
            images, labels = torch.cat([b.x for b in kept]), torch.cat([b.y for b in kept])
            shown = _between(images.min(), images.max())
        else:
            return None
        x = trainer.precision_plugin.convert_input(images)

        def decoded(view: LatentVariableModel, z: Tensor) -> Tensor:
            return shown(view.images_of(z.to(x)))

        uses_prior = pl_module.objective.uses_prior
        noise = normal_noise(1, len(x), model.noise_dim, seed=FIXED_SEED)
        draw = model.given(LabelledImages(x, labels)).draw(x, noise.to(x))
        return PanelInputs(
            stage,
            trainer.global_step - 1,
            shown(images),
            labels,
            draw.posterior,
            draw.prior.rate_per_dimension(draw.posterior),
            shown(model.likelihood.mean(draw.decoded()[0])),
            {
                name: View(partial(decoded, view), view.prior if uses_prior else None)
                for name, view in model.views().items()
            },
        )


def _between(low: Tensor, high: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that maps pixels to [0, 1]: those already there to themselves."""
    if low < 0 or high > 1:
        return lambda x: ((x - low) / (high - low)).clamp(0, 1)
    return lambda x: x.clamp(0, 1)


class ImagePanel(Panel):
    """Shows TensorBoard images above their reconstructions from a sampled z.

    Args:
        every_n_epochs: how often, from the first epoch on; once more at the end.
        images: how many images, eight a row.
    """

    @checked
    def __init__(self, every_n_epochs: Count = 1, images: Count = 16) -> None:
        super().__init__(every_n_epochs, images)

    def show(self, board: Any, inputs: PanelInputs, pl_module: AutoencoderModule) -> None:
        pairs = pair_rows(inputs.x, inputs.x_hat)
        board.add_image(f"{inputs.stage}/reconstructions", pairs, inputs.step)


class LatentPanel(Panel):
    """Shows TensorBoard the latent space: plots of it, and histograms of mu and std.

    Codes in a plane by class, the decoded plane or traversals, decoded draws from the prior, and
    the rate of each dimension; of these the ones that mean something for the model. When training
    ends the codes, with labels and images, go to the embedding projector, which keeps them as
    files in the run folder.

    Args:
        every_n_epochs: how often, from the first epoch on; once more at the end. One costs
            about a tenth of an epoch of the default model on two cores.
        images: how many of them.
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

    def show(self, board: Any, inputs: PanelInputs, pl_module: AutoencoderModule) -> None:
        mu, std = _on_cpu(inputs.posterior)
        if not (torch.cat([mu, std]).abs() < LARGEST_BIN).all():
            return  # StopWhenNotFinite raises the error with the details
        # The projector has the components, and where there is a plane it has both dimensions.
        left_out = ("latent_pca", "traversals" if mu.shape[1] == 2 else "")
        for name, _, plot in self.compute(inputs, pl_module):
            if plot is not None and name not in left_out:
                figure = plot()
                figure.set_dpi(80)
                board.add_figure(f"{inputs.stage}/{name}", figure, inputs.step)
        board.add_histogram(f"{inputs.stage}/mu", mu, inputs.step)
        if inputs.posterior.has_density:
            board.add_histogram(f"{inputs.stage}/std", std, inputs.step)

    def on_train_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        super().on_train_end(trainer, pl_module)
        for board in summary_writers(trainer):
            with evaluation_mode(pl_module.model):
                inputs = self.inputs(trainer, pl_module)
            if inputs is None:
                return
            mu = inputs.posterior.mu
            board.add_embedding(
                F.pad(mu, (0, max(0, 3 - mu.shape[1]))),  # of fewer than three it shows nothing
                metadata=inputs.y.tolist(),
                label_img=sprites(inputs.x),
                global_step=inputs.step,
                tag=f"{inputs.stage}_mu",
            )


def _on_cpu(posterior: Posterior) -> tuple[Tensor, Tensor]:
    """Its mu and std."""
    return posterior.mu.float().cpu(), posterior.std.float().cpu()


def sprites(x: Tensor) -> Tensor:
    """Images as squares that fit into the projector's one image, `[N, C, H, W]` → `[N, C, S, S]`.

    C is 1 or 3 afterwards.
    """
    *_, height, width = x.shape
    side = max(height, width)
    square = F.pad(viewable(x), (0, side - width, 0, side - height))
    fitting = LARGEST_SPRITE // math.ceil(len(x) ** 0.5)
    return square if side <= fitting else F.interpolate(square, size=fitting, mode="area")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode, without gradients, and compiles nothing anew."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for part, mode in modes:
            part.training = mode
