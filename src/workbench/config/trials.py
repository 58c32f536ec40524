"""Try the module of a config: build it, and compute the loss of a batch."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import lightning as L
import torch

from workbench.config.build import build_module
from workbench.config.nested import flatten
from workbench.foreign import is_foreign
from workbench.module import reports_of
from workbench.project import Config, the_project

SMALL = 10_000_000
"""The most weights of a small module."""

NOT_IN_SHAPE = ("trainer", "callbacks", "logger", "name", "seed", "optimizer", "scheduler")
"""Entries that do not change the shapes of a module's weights."""


class TrialBatch(NamedTuple):
    """What a module reports of a batch: its word for examples, and names of terms and settings."""

    examples: str
    terms: list[str]
    settings: list[str]


class Trials:
    """Tries modules, those of the same shapes once if they are small.

    Args:
        check: a further check of each module, which may be on the device "meta".
    """

    def __init__(
        self, check: Callable[[L.LightningModule, Config], None] = lambda module, config: None
    ) -> None:
        self._check = check
        self._known: dict[str, TrialBatch] = {}

    def of(self, config: Config, data: L.LightningDataModule) -> TrialBatch | None:
        """What the module of a config reports of a batch.

        None if the module cannot be built before data are read, or is of the user's own class.

        The module is built on the device "meta", without memory for its weights. It is built again
        on the CPU if that fails, as it may need their values, and the error should be one that a
        run would raise. If a module of the same shape was small, it is built on the CPU at once,
        which is faster, and no batch is tried: floats change neither the shapes of a batch nor its
        terms, except by their sign.
        """
        if not the_project().can_assemble(data):
            return None
        settings = flatten({name: v for name, v in config.items() if name not in NOT_IN_SHAPE})
        signs = {n: (v > 0) - (v < 0) for n, v in settings.items() if isinstance(v, float)}
        shape = repr({**settings, **signs})
        if shape not in self._known:
            with suppress(Exception):
                return self._try_on("meta", config, data, shape)
        return self._try_on("cpu", config, data, shape)

    def _try_on(
        self, device: str, config: Config, data: L.LightningDataModule, shape: str
    ) -> TrialBatch | None:
        with torch.device(device):
            module = build_module({**config, "compile": False}, data)
        self._check(module, config)
        if is_foreign(type(module)):
            return None
        if shape in self._known:
            return self._known[shape]
        trial = TrialBatch(reports_of(module).examples, *the_project().try_batch(module, data))
        if sum(weight.numel() for weight in module.parameters()) <= SMALL:
            self._known[shape] = trial
        return trial
