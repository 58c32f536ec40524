"""Where images are kept: on the training device, if that leaves room to train there."""

import logging

import torch
from torch import Tensor

log = logging.getLogger(__name__)

LARGEST_SHARE = 0.5
"""Of a device's free memory, for the images of one set."""


def placed(images: Tensor, device: torch.device) -> Tensor:
    """The images on `device`, or where they take too much of its memory on the host, and says so.

    From there batches travel as they are needed.
    """
    free = free_memory(device)
    if free is None or images.nbytes <= LARGEST_SHARE * free:
        return images.to(device)
    log.info(
        "%s images take %.1f GiB of the %.1f GiB that %s has free: they stay in the host's "
        "memory, and batches travel",
        f"{len(images):,}",
        images.nbytes / 2**30,
        free / 2**30,
        device,
    )
    return images.cpu()


def free_memory(device: torch.device) -> int | None:
    """In bytes; None for a device that shares the host's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def sent(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on `device`; from the host's memory to a GPU without making the host wait."""
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
