"""What TensorBoard's panels of pictures share."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn

from musigma.data import ImageDataModule
from musigma.models.posterior import Posterior
from musigma.module import AutoencoderModule
from workbench.callbacks.boards import boards


class Seen(NamedTuple):
    """Some images, and what the model says of them.

    Args:
        stage: `val`, or where no images are held out `train`.
        step: the optimizer step, counted from 0, after which it says so.
        x: the images, `[N, C, H, W]` in [0, 1].
        y: their labels, `[N]`.
        posterior: of each.
        decoded: codes `[..., d]` → mean images `[..., C, H, W]` in [0, 1].
    """

    stage: Literal["train", "val"]
    step: int
    x: Tensor
    y: Tensor
    posterior: Posterior
    decoded: Callable[[Tensor], Tensor]


class Panel(L.Callback):
    """Shows TensorBoard what the model makes of the first images that are held out.

    It does so after the first epoch, every n epochs from there, and when training ends. Always
    the same images and the same noise, so that the slider over steps shows learning. What
    training does next stays the same to the bit.

    Args:
        every_n_epochs: how often.
        images: how many; where none are held out, they are training images.
    """

    only_shows: ClassVar[bool] = True

    def __init__(self, every_n_epochs: int, images: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self._last_step = 0

    @abstractmethod
    def show(self, board: Any, seen: Seen, pl_module: AutoencoderModule) -> None:
        """Give it to a `SummaryWriter`."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Show it now and then."""
        if trainer.current_epoch % self.every_n_epochs == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Show what the last epoch has led to."""
        if trainer.global_step != self._last_step:
            self._show(trainer, pl_module)

    def _show(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        self._last_step = trainer.global_step
        for board in boards(trainer):
            with looking_at(pl_module.model):
                self.show(board, self.seen(trainer, pl_module), pl_module)

    def seen(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> Seen:
        """The images, and what the model says of them now."""
        data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
        model, shown = pl_module.model, data.normalization.shown
        stage, images, labels = data.first_images(self.images)
        x = trainer.precision_plugin.convert_input(images)

        def decoded(z: Tensor) -> Tensor:
            return shown(model.likelihood.mean(model.decode(z.to(x))))

        return Seen(
            stage=stage,
            step=trainer.global_step - 1,
            x=shown(images),
            y=labels,
            posterior=model.encode(x),
            decoded=decoded,
        )


@contextmanager
def looking_at(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode, without gradients, and compiles nothing anew."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for part, mode in modes:
            part.training = mode
