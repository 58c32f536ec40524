"""Images that the workers of a DataLoader read one by one."""

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from musigma.data.normalization import Normalization
from musigma.seeding import FIXED_SEED, derive_seed
from workbench.errors import DataError

NO_EPOCH = -1
"""The epoch of images that are not augmented."""

MOST_WORKERS = 8
"""More read images no faster."""

DIES_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""

Read = tuple[Tensor, int] | DataError
"""An image with its label, or the error that a worker met."""


@dataclass(eq=False, kw_only=True)
class OneByOne:
    """The base of sets of images that workers read one by one, `[C, H, W]` uint8 with a label each.

    Args:
        normalization: prepares images.
        augment: transforms of training images, of their shape again and uint8.
        seed: of what is random in training images.
    """

    normalization: Normalization
    augment: Sequence[Callable[[Tensor], Tensor]] = ()
    seed: int = 0

    def prepared(self, image: Tensor, is_training: bool, *place: int) -> Tensor:
        """An image, augmented; static random pixels are drawn by its place in the source.

        Raises:
            DataError: if a transform changes its shape or type.
        """
        if is_training:
            image = _augmented(image, self.augment)
        if self.normalization.is_drawn_once:
            seed = derive_seed(FIXED_SEED, *place)
            image = self.normalization.prepare(image.unsqueeze(0), seed)[0]
        return image


def with_workers(images: Any, num_workers: int, seed: int, **settings: Any) -> DataLoader[Any]:
    """A DataLoader whose batches `opened` opens."""
    return DataLoader(
        images,
        num_workers=num_workers,
        collate_fn=together,
        worker_init_fn=_begin_worker,
        # Its own generator: seeds of workers are not drawn from torch's.
        generator=torch.Generator().manual_seed(seed),
        **settings,
    )


def opened(found: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """The images `[B, C, H, W]` and labels `[B]` that workers read.

    Raises:
        DataError: if one met an error, or was killed.
    """
    try:
        for batch in found:
            if isinstance(batch, DataError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"a worker that reads images was killed ({error}), maybe for want of memory: set "
            "data.num_workers or data.eval_batch_size lower"
        ) from error


def default_workers() -> int:
    """The number of cores that this process may use, up to `MOST_WORKERS`."""
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return min(len(cores), MOST_WORKERS)


def _augmented(image: Tensor, augment: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    shape = image.shape
    for transform in augment:
        image = transform(image)
    if image.shape != shape or image.dtype != torch.uint8:
        raise DataError(
            f"data.augment makes images of {shape[0]} × {shape[1]} × {shape[2]} ones of "
            f"{' × '.join(map(str, image.shape))}, {image.dtype}; they should keep their "
            "shape and stay uint8: data.normalization comes after it"
        )
    return image


def together(items: list[Read]) -> tuple[Tensor, Tensor] | DataError:
    """A batch of what a worker has read, or the error that it met."""
    if error := next((item for item in items if isinstance(item, DataError)), None):
        return error
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def _begin_worker(_: int) -> None:
    """Let the main process decide when to stop, and do not outlive it.

    Garbage of the main process is not collected here: there may be other workers in it, which only
    their parent can end, and collecting it would copy its memory.
    """
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])):
        signal.signal(number, signal.SIG_DFL)
    assert get_worker_info() is not None
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
