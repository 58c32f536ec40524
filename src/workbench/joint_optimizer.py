"""Several optimizers as one: a step of it is a step of each."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer


class JointOptimizer(Optimizer):
    """Steps optimizers of disjoint parameters together.

    Its parameter groups and its state are theirs, one after the other, so that it is saved and
    loaded as any optimizer; their classes and settings stay their own.

    Args:
        parts: the optimizers.

    Raises:
        ValueError: if a parameter is in two of them.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        first, *others = (part.defaults for part in parts)
        # The defaults that all share; schedulers look in them for what they may set, as momentum.
        shared = {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}
        super().__init__([group for part in parts for group in part.param_groups], shared)
        self.parts = [*parts]
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Compute the gradients once, and step each."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Give each part its parameter groups, and all of them one state."""
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            groups = self.param_groups[first:last]
            part.__setstate__({"state": self.state, "param_groups": groups})
            first = last


def parts_of(optimizer: Any) -> list[Any]:
    """The optimizers that one consists of; itself alone if it is not joint."""
    return getattr(optimizer, "parts", [optimizer])
