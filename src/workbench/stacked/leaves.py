"""Take the tensors and floats out of an object, and put others in their places."""

import io
import pickle
from typing import Any

from torch import Tensor


def take_apart(thing: Any) -> tuple[bytes, list[Any]]:
    """The rest of an object, pickled without its tensors and floats, and these, its leaves.

    Objects that differ only in their leaves have the same rest.

    Raises:
        Exception: of several kinds, if something in it cannot be pickled, such as a local function.
    """
    file = io.BytesIO()
    leaves: list[Any] = []
    places: dict[int, int] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, part: Any) -> int | None:
            if isinstance(part, Tensor) and id(part) in places:
                return places[id(part)]
            if isinstance(part, Tensor) or type(part) is float:
                places[id(part)] = len(leaves)
                leaves.append(part)
                return len(leaves) - 1
            return None

    Pickler(file).dump(thing)
    return file.getvalue(), leaves


def put_together(rest: bytes, leaves: list[Any]) -> Any:
    """A new object of a rest and leaves."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, place: int) -> Any:
            return leaves[place]

    return Unpickler(io.BytesIO(rest)).load()
