"""Loops with Lightning: the bare minimum, and training as `scripts/train.py` does it."""

import math
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarking.pipelines import in_memory, set_up
from benchmarking.race import Pace
from musigma.assemble import assemble, build_data
from musigma.data import Batch
from musigma.models import LatentVariableModel
from workbench.project import Config
from workbench.training.fitting import train
from workbench.training.trainer import build_trainer


def minimal(pace: Pace, config: Config) -> None:
    """Train the bare loop's network, images and optimizer with a Trainer, everything switched off.

    There are no validation, no callbacks, no loggers and no hooks.
    """
    data, model, grey, device = set_up(config)
    x = data.normalization(grey).to(device)
    trainer = L.Trainer(
        max_epochs=-1,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: Any = _Paced(pace, x, data.batch_size)
    trainer.fit(_Minimal(model, config["optimizer"]["lr"]), loader)


class _Minimal(L.LightningModule):
    def __init__(self, model: LatentVariableModel, lr: float) -> None:
        super().__init__()
        self.model = model
        self.lr = lr

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        return F.l1_loss(self.model(x), x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.lr, fused=True)


class _Paced:
    """Batches of images in memory; each epoch waits for its turn."""

    def __init__(self, pace: Pace, x: Tensor, batch_size: int) -> None:
        self.pace = pace
        self.x = x
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Tensor]:
        self.pace.next_epoch(len(self.x))
        yield from in_memory(self.x, self.batch_size)

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)


def training(pace: Pace, config: Config) -> None:
    """Train as scripts/train.py does, with validation, checkpoints, loggers and callbacks."""
    with TemporaryDirectory() as folder:
        data = build_data(config)
        module = assemble(config, data)
        config = {**config, "trainer": {**config["trainer"], "max_epochs": -1}}
        trainer: Any = build_trainer(config, Path(folder))
        for callback in trainer.callbacks:
            _time_hooks(callback, pace.parts)
        trainer.callbacks.append(_EpochByEpoch(pace))
        train(module, data, trainer)


class _EpochByEpoch(L.Callback):
    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.images = 0

    def on_train_epoch_start(self, *_: object) -> None:
        self.pace.next_epoch(self.images)
        self.images = 0

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.images += len(batch.x)


def _time_hooks(callback: Any, parts: dict[str, float]) -> None:
    """Add the seconds spent in a callback's hooks to `parts`, under the name of its class."""
    name = type(callback).__name__
    hooks = [hook for hook in dir(L.Callback) if hook.startswith("on_")]
    for hook in hooks:
        if getattr(type(callback), hook) is getattr(L.Callback, hook):
            continue
        method = getattr(callback, hook)

        def timed(*args: Any, method: Callable[..., Any] = method, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                parts[name] = parts.get(name, 0.0) + time.perf_counter() - start

        setattr(callback, hook, wraps(method)(timed))
