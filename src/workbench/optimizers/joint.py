"""Several optimizers as one."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from workbench.errors import ConfigError


class JointOptimizer(Optimizer):
    """Steps optimizers of disjoint parameters together.

    Its parameter groups and its state are those of all parts, so that it is saved and loaded like
    any optimizer; each part keeps its class and its settings.

    Args:
        parts: the optimizers.

    Raises:
        ValueError: if a parameter is in two of them.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        first, *others = (part.defaults for part in parts)
        # The defaults that all parts share: schedulers look there for settings such as momentum.
        shared = {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}
        super().__init__([group for part in parts for group in part.param_groups], shared)
        self.parts = [*parts]
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Compute the gradients once, and step each part.

        Raises:
            ConfigError: if a part evaluates the batch again.
        """
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step(None if closure is None else _once(part, loss))
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Give each part its own parameter groups and the common state."""
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            groups = self.param_groups[first:last]
            part.__setstate__({"state": self.state, "param_groups": groups})
            first = last


def _once(part: Optimizer, loss: Any) -> Callable[[], Any]:
    """A closure that returns the loss, whose gradients are there, and refuses a second call."""
    calls = itertools.count()

    def evaluate() -> Any:
        if next(calls):
            raise ConfigError(
                f"optimizer: {type(part).__name__} evaluates a batch more than once, which is not "
                "possible beside parts with optimizers of their own: choose another one"
            )
        return loss

    return evaluate


def parts_of(optimizer: Any) -> list[Any]:
    """The parts of a joint optimizer; for any other, the optimizer itself."""
    return getattr(optimizer, "parts", [optimizer])
