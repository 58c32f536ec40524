"""The batches of what a data module returns: one loader, several, or Lightning's CombinedLoader."""

import math
from typing import Any

from lightning.pytorch.utilities import CombinedLoader


def each_loader(loaders: Any) -> list[Any]:
    """The single loaders in one, a list, a mapping or a CombinedLoader; none in None."""
    combined = loaders if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders)
    return [loader for loader in combined.flattened if loader is not None]


def length_of(loader: Any) -> float:
    """The batches of a single loader; infinity if it has no length."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # an IterableDataset
        return math.inf


def has_batches(loaders: Any) -> bool:
    """True unless it is known that no loader has a batch."""
    return any(map(length_of, each_loader(loaders)))


def batches_in_epoch(loaders: Any) -> float:
    """The batches in an epoch of training: those of the longest loader, or of the shortest.

    Lightning repeats the shorter ones, unless a CombinedLoader ends with the shortest.
    """
    ends_early = isinstance(loaders, CombinedLoader) and loaders._mode == "min_size"
    return (min if ends_early else max)(map(length_of, each_loader(loaders)), default=0)
