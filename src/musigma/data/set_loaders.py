"""The loaders of a data module's sets."""

from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor

from musigma.data.batch import Batch
from musigma.data.iterable import IterableStream
from musigma.data.loader import InMemory
from musigma.data.pixel_loader import PixelLoader
from musigma.data.streaming import IndexedStream, StreamLoader
from workbench.foreign import is_foreign
from workbench.seeded_draws import next_epoch

ImageSet = InMemory | IndexedStream | IterableStream
SetName = Literal["train", "val", "test"]

EVALUATED_OF_ITERABLE = 10_000
"""The number of training images that are evaluated if they have no length."""


class SetLoaders(L.LightningDataModule):
    """The loaders of a data module that has read its sets; its settings are `ImageDataModule`'s.

    Without a trainer, images are on `device`, the CPU by default.
    """

    batch_size: int
    eval_batch_size: int
    num_workers: int
    seed: int

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device("cpu")
        self._sets: dict[str, ImageSet] = {}
        self._first_images: dict[int, tuple[Tensor, Tensor]] = {}
        self._training_loader: PixelLoader | None = None

    def train_dataloader(self) -> PixelLoader:
        """The training images, shuffled anew each epoch unless `overfit_batches` is set."""
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        loader = self._make_loader(
            self._sets["train"], self.batch_size, is_training=True, shuffle=shuffle, **self._ranks
        )
        if self.trainer:
            # Lightning asks loaders without a length for a batch before it sets the epoch.
            loader.sampler.set_epoch(next_epoch(self.trainer.fit_loop.state_dict()))
        self._training_loader = loader
        return loader

    def val_dataloader(self) -> Any:
        return self.evaluation_loader("val")

    def test_dataloader(self) -> Any:
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> Any:
        return self.test_dataloader()

    def evaluation_loader(self, name: SetName) -> Any:
        """The images of a set in a fixed order, not augmented; an empty list if there are none.

        Of training images without a length, the first 10,000.
        """
        if name not in self._sets:
            return []
        return self._make_loader(self._evaluated(name), self.eval_batch_size, **self._ranks)

    def first_images(self, count: int) -> tuple[Literal["train", "val"], Tensor, Tensor]:
        """The first validation images, or training images if there are none, cached.

        Returns:
            The name of the set, normalised images and labels, on the training device.
        """
        name: Literal["train", "val"] = "val" if "val" in self._sets else "train"
        if count not in self._first_images:
            images = self._make_loader(self._sets[name].first(count), count).images()
            x, y = (part.to(self._device) for part in images.tensors())
            self._first_images[count] = x, y
        return name, *self._first_images[count]

    def teardown(self, stage: str) -> None:
        """End the worker processes of the training loader."""
        if isinstance(self._training_loader, StreamLoader):
            self._training_loader.close()

    def on_exception(self, exception: BaseException) -> None:
        """End the workers of a run that is interrupted or fails."""
        self.teardown("fit")

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch | tuple[Tensor, Tensor]:
        """Return the batch, which is on the device already; to a foreign module as `(x, y)`."""
        module = self.trainer.lightning_module if self.trainer else None
        return (batch.x, batch.y) if is_foreign(type(module)) else batch

    def _evaluated(self, name: SetName) -> ImageSet:
        images = self._sets[name]
        is_endless = name == "train" and isinstance(images, IterableStream)
        return images.first(EVALUATED_OF_ITERABLE) if is_endless else images

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else self.device

    def _make_loader(
        self, images: ImageSet, batch_size: int, *, is_training: bool = False, **settings: Any
    ) -> PixelLoader:
        return images.loader(
            batch_size=batch_size,
            is_training=is_training,
            num_workers=self.num_workers,
            seed=self.seed,
            device=self._device,
            **settings,
        )

    @property
    def _ranks(self) -> dict[str, Any]:
        """The rank of this process and the number of ranks, as arguments of a loader."""
        if not self.trainer:
            return {}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}
