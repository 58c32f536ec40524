"""Images that the worker processes of a DataLoader read one by one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from musigma.data.normalization import Normalization
from musigma.seeding import FIXED_SEED, derive_seed
from workbench.errors import DataError
from workbench.loader_workers import init_worker, naming_lost_workers

NO_EPOCH = -1
"""The epoch of images that are evaluated, and so not augmented."""

Item = tuple[Tensor, int] | DataError
"""An image with its label, or a worker's error."""


@dataclass(eq=False, kw_only=True)
class Stream:
    """The base of sets whose images, uint8 `[C, H, W]`, are read one by one, each with a label.

    Args:
        normalization: prepares images.
        augment: transforms of training images, which keep their shape and type.
        seed: the seed of augmentation.
    """

    normalization: Normalization
    augment: Sequence[Callable[[Tensor], Tensor]] = ()
    seed: int = 0

    def prepared(self, image: Tensor, is_training: bool, *place: int) -> Tensor:
        """Augment a training image; draw static random pixels as a function of its place.

        Raises:
            DataError: if a transform changes its shape or type.
        """
        shape = image.shape
        for transform in self.augment if is_training else ():
            image = transform(image)
        if image.shape != shape or image.dtype != torch.uint8:
            raise DataError(
                f"data.augment turns images of {shape[0]} × {shape[1]} × {shape[2]} into "
                f"{' × '.join(map(str, image.shape))}, {image.dtype}; it should keep their shape "
                "and uint8: data.normalization comes after it"
            )
        if self.normalization.is_drawn_once:
            seed = derive_seed(FIXED_SEED, *place)
            image = self.normalization.prepare(image.unsqueeze(0), seed)[0]
        return image


def worker_loader(images: Any, num_workers: int, seed: int, **settings: Any) -> DataLoader[Any]:
    """A DataLoader whose workers return errors in place of batches; see `raise_errors`."""
    return DataLoader(
        images,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=init_worker,
        # Its own generator, so that it draws the workers' seeds from no other.
        generator=torch.Generator().manual_seed(seed),
        **settings,
    )


def collate(items: list[Item]) -> tuple[Tensor, Tensor] | DataError:
    """The images `[B, C, H, W]` and labels `[B]` of a batch, or the first error among its items."""
    if error := next((item for item in items if isinstance(item, DataError)), None):
        return error
    images, labels = default_collate(items)  # in a worker it stacks images in shared memory
    return images, labels


def raise_errors(batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of `collate`, and raise the errors among them.

    Raises:
        DataError: if a worker returned one, or has ended.
    """
    with naming_lost_workers("data.num_workers or data.eval_batch_size"):
        for batch in batches:
            if isinstance(batch, DataError):
                raise batch
            yield batch
