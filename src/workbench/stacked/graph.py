"""Record a function as a CUDA graph and replay it."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

WARM_UP = 3
"""The number of ordinary calls before the recorded one, in which libraries initialise."""


class GraphedFunction:
    """A function of tensors without a result, recorded as a CUDA graph and then replayed.

    The first calls are ordinary ones, and so are calls with other shapes than the first had.

    Args:
        function: changes tensors in place, and never makes the host wait for a value.
        is_on: False if all calls are to be ordinary, as on a CPU.
    """

    def __init__(self, function: Callable[..., None], is_on: bool) -> None:
        self.function, self.is_on = function, is_on
        self._calls = 0
        self._shapes: list[torch.Size] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Any = None

    def __call__(self, *inputs: Any) -> None:
        """Call it, or replay it."""
        shapes = [tensor.shape for tensor in tree_leaves(inputs)]
        self._shapes = self._shapes or shapes
        if not self.is_on or shapes != self._shapes:
            self.function(*inputs)
            return
        self._calls += 1
        if self._calls <= WARM_UP:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.function(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            return
        if self._graph is None:
            self._inputs = tree_map(torch.clone, inputs)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self.function(*self._inputs)
        for recorded, given in zip(tree_leaves(self._inputs), tree_leaves(inputs), strict=True):
            recorded.copy_(given)
        self._graph.replay()
