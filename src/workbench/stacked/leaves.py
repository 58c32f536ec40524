"""The tensors and numbers in an object, and the object with others in their places."""

import io
import pickle
from typing import Any

from torch import Tensor


def take_apart(thing: Any) -> tuple[bytes, list[Any]]:
    """All of an object but its tensors and floats; and these.

    The former is the same for objects that differ in nothing else.

    Raises:
        Exception: of several kinds, if something in it cannot be pickled, a function in a function
            for example.
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
    """A new object with these leaves."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, place: int) -> Any:
            return leaves[place]

    return Unpickler(io.BytesIO(rest)).load()
