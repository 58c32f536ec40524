"""Split an object into its structure and its leaves, and rebuild it with other leaves.

Leaves are tensors and floats; all other values are part of the structure.
"""

import io
import pickle
from typing import Any

from torch import Tensor


def split(thing: Any) -> tuple[bytes, list[Any]]:
    """The structure of an object, pickled without its leaves, and the leaves.

    Objects that differ only in their leaves have the same structure.

    Raises:
        Exception: of several kinds, if a part cannot be pickled, such as a local function.
    """
    file = io.BytesIO()
    leaves: list[Any] = []
    indices: dict[int, int] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, part: Any) -> int | None:
            if isinstance(part, Tensor) and id(part) in indices:  # one tensor in two places
                return indices[id(part)]
            if isinstance(part, Tensor) or type(part) is float:
                indices[id(part)] = len(leaves)
                leaves.append(part)
                return len(leaves) - 1
            return None

    Pickler(file).dump(thing)
    return file.getvalue(), leaves


def rebuild(structure: bytes, leaves: list[Any]) -> Any:
    """A new object with a structure from `split` and other leaves."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, index: int) -> Any:
            return leaves[index]

    return Unpickler(io.BytesIO(structure)).load()
