"""Images held out of a set."""

from collections.abc import Mapping, Sized
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musigma.seeding import FIXED_SEED
from workbench.errors import DataError

Size = Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)]
"""A number of images, or a share of all."""

NO_LABEL = -1
"""Label of an image without one."""

TEST_SHARE = 0.1
"""The share of the images that is held out as the test set, if there is none."""


def split(count: int, size: Size, what: str = "the data") -> Tensor:
    """A mask `[count]` of the images that are held out, the same for every seed.

    Raises:
        DataError: if nothing would be left to train on.
    """
    held_out = size if isinstance(size, int) else max(1, round(size * count))
    if held_out >= count:
        raise DataError(f"{what}: holding out {held_out} images leaves none of {count} to train on")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(FIXED_SEED))
    mask = torch.zeros(count, dtype=torch.bool)
    mask[order[:held_out]] = True
    return mask


def holding_out(sets: Mapping[str, Any], name: str, size: Size, what: str) -> dict[str, Any]:
    """The sets, with one held out of the training set, if it is not among them.

    Of training images without a length none are held out.
    """
    train = sets.get("train")
    if name in sets or not isinstance(train, Sized):
        return {**sets}
    mask = split(len(train), size, what)
    return {**sets, "train": train.only(~mask), name: train.only(mask)}  # type: ignore[attr-defined]
