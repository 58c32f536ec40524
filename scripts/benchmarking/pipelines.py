"""What is raced: the notebook, a bare loop, the arithmetic alone, and training as it is here.

The first two minimise what the default model does, the mean absolute error, whatever the config
says; each takes its network, batch size and learning rate from it.
"""

import time
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import lightning as L
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarking.race import Pace
from musigma.assemble import assemble, build_data, build_model
from musigma.data import Batch, ImageDataModule
from musigma.models import LatentVariableModel
from workbench.project import Config
from workbench.trainer import build_trainer, spare_driver_lookups
from workbench.training import train


def notebook(pace: Pace, config: Config) -> None:
    """Torchvision transforms of each image, a DataLoader, and a plain loop."""
    data, model, grey, device = _set_up(config)
    loader = DataLoader(_Transformed(grey), batch_size=data.batch_size, shuffle=True)
    _loop(pace, config, model, lambda: (x.to(device) for x in loader), len(grey))


def bare_loop(pace: Pace, config: Config) -> None:
    """Normalised images in memory, a permutation for each epoch, and a plain loop."""
    data, model, grey, device = _set_up(config)
    x = data.normalization(grey).to(device)

    def batches() -> Iterable[Tensor]:
        order = torch.randperm(len(x), device=device)
        return (x[rows] for rows in order.split(data.batch_size))

    _loop(pace, config, model, batches, len(x))


def products(pace: Pace, config: Config) -> None:
    """The matrix products of the network's linear layers, forwards and backwards, alone."""
    data, model, grey, device = _set_up(config)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in layers]
    dtype = torch.bfloat16 if config["trainer"]["precision"] == "bf16-mixed" else torch.float32

    def step(batch_size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        todo = []
        for number, (before, after) in enumerate(sizes):
            x, y, w = (
                torch.randn(*shape, device=device, dtype=dtype)
                for shape in ((batch_size, before), (batch_size, after), (before, after))
            )
            todo += [(x, w, torch.empty_like(y)), (x.T, y, torch.empty_like(w))]
            if number > 0:  # nobody asks for the gradient of the images
                todo.append((y, w.T, torch.empty_like(x)))
        return todo

    full, rest = divmod(len(grey), data.batch_size)
    steps = [step(data.batch_size)] * full + [step(rest)] * bool(rest)
    while True:
        pace.next_epoch(len(grey))
        for todo in steps:
            for a, b, out in todo:
                torch.mm(a, b, out=out)


def training(pace: Pace, config: Config) -> None:
    """What scripts/train.py does: validation, checkpoints, loggers and callbacks."""
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
    """Let a callback add the seconds spent in its hooks to `parts`, under its class's name."""
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


class _SetUp(NamedTuple):
    data: ImageDataModule
    model: LatentVariableModel
    grey: Tensor
    device: torch.device


def _set_up(config: Config) -> _SetUp:
    torch.manual_seed(config["seed"])
    torch.set_float32_matmul_precision(config["matmul_precision"])
    spare_driver_lookups()
    data = build_data(config)
    data.prepare_data()
    data.setup("fit")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader: Any = data.train_dataloader()
    grey: Tensor = loader.tensors()[0]
    return _SetUp(data, build_model(config, data).to(device), grey, device)


def _loop(
    pace: Pace,
    config: Config,
    model: LatentVariableModel,
    batches: Callable[[], Iterable[Tensor]],
    images: int,
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=config["optimizer"]["lr"])
    while True:
        pace.next_epoch(images)
        for x in batches():
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), x)
            loss.backward()
            optimizer.step()


class _Transformed(Dataset[Tensor]):
    """Images as torchvision's MNIST hands them out."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image: Tensor = self.transform(Image.fromarray(self.images[index, 0].numpy(), mode="L"))
        return image
