"""Hooks of modules and data that a stack does not call."""

from collections.abc import Collection
from typing import Any

from lightning.pytorch.core.hooks import DataHooks, ModelHooks

from workbench.errors import ConfigError

SKIPPED_HOOKS = {
    *(
        name
        for name in (*vars(DataHooks), *vars(ModelHooks))
        if name.startswith("on_") and not name.startswith(("on_test", "on_predict"))
    ),
    *("training_step", "validation_step", "backward", "optimizer_step", "optimizer_zero_grad"),
    *("configure_gradient_clipping", "transfer_batch_to_device"),
} - {"on_train_batch_start"}
"""Methods of modules and data that Lightning calls in each step or epoch, and a stack does not."""


def check_hooks(thing: Any, method: str, skipped: Collection[str]) -> None:
    """Raise a ConfigError if a class below the one that defines `method` has such hooks."""
    for kind in type(thing).mro():
        if method in vars(kind):
            return
        if hooks := sorted(vars(kind).keys() & skipped):
            raise ConfigError(f"a stack does not call {kind.__name__}.{hooks[0]}")
