"""Loops without Lightning: the notebook's, a bare one, one with our step, the arithmetic alone.

The notebook's and the bare loop minimise the default model's loss, the mean absolute error,
whatever the config says; all take network, batch size and learning rate from the config.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarking.race import Pace
from musigma.assemble import assemble, build_data, build_model
from musigma.data import ImageDataModule
from musigma.models import LatentVariableModel
from musigma.seeding import derive_seed, seed_noise
from workbench.project import Config
from workbench.training.trainer import spare_driver_lookups


def notebook(pace: Pace, config: Config) -> None:
    """Train with torchvision transforms of each image, a DataLoader, and a plain loop."""
    data, model, grey, device = set_up(config)
    loader = DataLoader(_Transformed(grey), batch_size=data.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["optimizer"]["lr"])
    _loop(pace, model, optimizer, lambda: (x.to(device) for x in loader), len(grey))


def bare_loop(pace: Pace, config: Config) -> None:
    """Train with the fastest plain loop that we know: normalised images in memory, fused Adam."""
    data, model, grey, device = set_up(config)
    x = data.normalization(grey).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["optimizer"]["lr"], fused=True)
    _loop(pace, model, optimizer, lambda: in_memory(x, data.batch_size), len(x))


def our_step(pace: Pace, config: Config) -> None:
    """Compute what scripts/train.py does for a batch, with noise and metrics, without Lightning."""
    data, _, grey, device = set_up(config)
    module: Any = assemble(config, data).to(device)
    optimizer: Any = module.configure_optimizers()
    loader: Any = data.train_dataloader()
    step = epoch = 0
    while True:
        pace.next_epoch(len(grey))
        module.means["train"].reset()
        for index, batch in enumerate(loader):
            seed_noise(device, derive_seed(module.seed, 0, epoch, index))
            shape = (module.objective.samples, len(batch.x), module.model.noise_dim)
            noise = torch.randn(shape, device=device)
            loss, terms, settings = module.terms(batch, noise, len(grey), step)
            module.add("train", terms, **settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        epoch += 1


def products(pace: Pace, config: Config) -> None:
    """Compute only the matrix products of the network's linear layers, forward and backward."""
    data, model, grey, device = set_up(config)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in layers]
    dtype = torch.bfloat16 if config["trainer"]["precision"] == "bf16-mixed" else torch.float32

    def step(batch_size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        factors = []  # of each product, and its output
        for number, (before, after) in enumerate(sizes):
            x, y, w = (
                torch.randn(*shape, device=device, dtype=dtype)
                for shape in ((batch_size, before), (batch_size, after), (before, after))
            )
            factors += [(x, w, torch.empty_like(y)), (x.T, y, torch.empty_like(w))]
            if number > 0:  # the gradient of the images is not needed
                factors.append((y, w.T, torch.empty_like(x)))
        return factors

    full, rest = divmod(len(grey), data.batch_size)
    steps = [step(data.batch_size)] * full + [step(rest)] * bool(rest)
    while True:
        pace.next_epoch(len(grey))
        for factors in steps:
            for a, b, out in factors:
                torch.mm(a, b, out=out)


class SetUp(NamedTuple):
    """The data, model and device of a loop.

    Args:
        data: the data module, for its settings.
        model: the config's model, on `device`.
        grey: the training images as they are stored, uint8 `[N, C, H, W]`.
        device: the GPU, or the CPU if there is none.
    """

    data: ImageDataModule
    model: LatentVariableModel
    grey: Tensor
    device: torch.device


def set_up(config: Config) -> SetUp:
    """Build the data and model of a config, with torch set up as in a run."""
    torch.manual_seed(config["seed"])
    torch.set_float32_matmul_precision(config["matmul_precision"])
    spare_driver_lookups()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = build_data(config)
    data.device = device
    data.prepare_data()
    data.setup("fit")
    loader: Any = data.train_dataloader()
    grey: Tensor = loader.dataset.tensors[0]
    return SetUp(data, build_model(config, data).to(device), grey, device)


def in_memory(x: Tensor, batch_size: int) -> Iterable[Tensor]:
    """The batches of an epoch, in random order."""
    order = torch.randperm(len(x), device=x.device)
    return (x.index_select(0, rows) for rows in order.split(batch_size))


def _loop(
    pace: Pace,
    model: LatentVariableModel,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Iterable[Tensor]],
    images: int,
) -> None:
    """Minimise the mean absolute error, epoch after epoch."""
    while True:
        pace.next_epoch(images)
        for x in batches():
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), x)
            loss.backward()
            optimizer.step()


class _Transformed(Dataset[Tensor]):
    """Images, transformed one by one as by torchvision's MNIST."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.cpu()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image: Tensor = self.transform(Image.fromarray(self.images[index, 0].numpy(), mode="L"))
        return image
