"""The base of panels in TensorBoard."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn

from musigma.data import Batch, ImageDataModule
from musigma.data.batch import as_batch
from musigma.data.unknown_normalization import UnknownNormalization
from musigma.evaluation.conditions import LabelledImages, View
from musigma.models import LatentVariableModel, Posterior
from musigma.module import AutoencoderModule
from musigma.seeding import FIXED_SEED, normal_noise
from workbench.loggers import summary_writers

MOST_VALUES = 20_000_000
"""The largest number of values in a panel's images: 80 MB, of which there are several copies."""


class PanelInputs(NamedTuple):
    """Images, labels, posterior and decoders for one panel.

    Args:
        stage: `val`, or `train` if there are no validation images.
        step: the last optimizer step, counted from 0.
        x: the images, `[N, C, H, W]` in [0, 1].
        y: their labels, `[N]`.
        posterior: their posteriors.
        rates: the rate of each dimension, `[N, d]`; None if the rate is not a sum over dimensions.
        x_hat: their reconstructions, each from one draw of z, like `x`.
        views: the decoders of the model's views, by caption.
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
    """The base of panels on the first validation images.

    A panel is written after the first epoch, then every n epochs, and when training ends. Images
    and noise are always the same, so that the slider over steps shows learning. Training stays the
    same to the bit.

    Args:
        every_n_epochs: the number of epochs from one to the next.
        images: the number of images; fewer if they would have more than 20 million values. They
            are training images if there are no validation images.
    """

    only_shows: ClassVar[bool] = True

    def __init__(self, every_n_epochs: int, images: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self._last_step = 0
        self._collected: dict[str, list[Batch]] = {"train": [], "val": []}

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: AutoencoderModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        self._collect("val", trainer, pl_module, batch)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: AutoencoderModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        self._collect("train", trainer, pl_module, batch)

    def on_sanity_check_end(self, *_: object) -> None:
        self._collected["val"] = []

    def _collect(
        self, name: str, trainer: L.Trainer, module: AutoencoderModule, batch: Any
    ) -> None:
        """Collect the first images of a loader, unless an `ImageDataModule` has them."""
        missing = self._count(module.model) - sum(len(b.x) for b in self._collected[name])
        if missing > 0 and not isinstance(trainer.datamodule, ImageDataModule):  # type: ignore[attr-defined]
            x, y, _ = as_batch(batch, module.model.image_shape, module.dtype)
            self._collected[name].append(Batch(x[:missing].clone(), y[:missing].clone(), None))

    def _count(self, model: LatentVariableModel) -> int:
        """The number of images of the panel."""
        return min(self.images, max(1, MOST_VALUES // math.prod(model.image_shape)))

    @abstractmethod
    def show(self, writer: Any, inputs: PanelInputs, pl_module: AutoencoderModule) -> None:
        """Write the panel to a `SummaryWriter`."""

    def compute(self, inputs: PanelInputs, pl_module: AutoencoderModule) -> Iterable[Any]:
        """Compute the contents of the panel, so that errors show before they are plotted."""
        return ()

    def rehearse(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Compute the contents once before training, so that errors show early."""
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
        for writer in summary_writers(trainer):
            with evaluation_mode(pl_module.model):
                if inputs := self.inputs(trainer, pl_module):
                    self.show(writer, inputs, pl_module)

    def inputs(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> PanelInputs | None:
        """The images with their posteriors under the current weights; None if there are none yet.

        Without an `ImageDataModule` the normalisation is unknown: pixels in [0, 1] are shown
        unchanged, others with their range mapped to [0, 1].
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        model = pl_module.model
        if isinstance(data, ImageDataModule):
            stage, images, labels = data.first_images(self._count(model))
            shown = data.normalization.shown
        elif batches := self._collected["val"] or self._collected["train"]:
            stage = "val" if self._collected["val"] else "train"
            images, labels = torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches])
            shown = UnknownNormalization(images).shown
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


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients and without compiling."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for part, mode in modes:
            part.training = mode
