"""Hold out validation and test images of a data set."""

from collections.abc import Mapping, Sized
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musigma.seeding import FIXED_SEED
from workbench.errors import DataError

Size = Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)]
"""A number of images, or a fraction of all."""

NO_LABEL = -1
"""The label of unlabelled images."""

TEST_SHARE = 0.1
"""The fraction of images that is held out as test set where the data have none."""


def split(count: int, size: Size, what: str = "the data") -> Tensor:
    """A mask `[count]` of the held-out images; it does not depend on the seed of a run.

    Raises:
        DataError: if no image would be left to train on.
    """
    held_out = size if isinstance(size, int) else max(1, round(size * count))
    if held_out >= count:
        raise DataError(f"{what}: holding out {held_out} images leaves none of {count} to train on")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(FIXED_SEED))
    mask = torch.zeros(count, dtype=torch.bool)
    mask[order[:held_out]] = True
    return mask


def holding_out(sets: Mapping[str, Any], name: str, size: Size, what: str) -> dict[str, Any]:
    """The sets, with the set `name` split off the training set unless it exists already.

    Nothing is split off a training set without a length.
    """
    train = sets.get("train")
    if name in sets or not isinstance(train, Sized):
        return {**sets}
    mask = split(len(train), size, what)
    return {**sets, "train": train.only(~mask), name: train.only(mask)}  # type: ignore[attr-defined]
