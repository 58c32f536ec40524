"""A minimal project for the tests of the workbench: fit a straight line to points."""

from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from workbench.config.instantiate import instantiate
from workbench.config.settings import ReportSettings, RunSettings
from workbench.meaning import Meaning, Meanings
from workbench.module import ReportingModule
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.optimizers.schedules import SchedulerRecipe
from workbench.project import Project
from workbench.seeded_draws import SeededDraws
from workbench.stages import Stage


class Points(L.LightningDataModule):
    """Points near the line y = 3x + 1."""

    def __init__(
        self, count: int = 64, noise: float = 0.1, batch_size: int = 16, shuffle: bool = False
    ) -> None:
        super().__init__()
        x = torch.linspace(-1, 1, count)[:, None]
        errors = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        self.points = TensorDataset(x, 3 * x + 1 + noise * errors)
        self.batch_size = batch_size
        self.shuffle = shuffle

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.points, self.batch_size, self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.points, self.batch_size)

    test_dataloader = val_dataloader


class Line(SeededDraws, ReportingModule):
    """Fits a line by least squares."""

    def __init__(self, line: nn.Linear, **settings) -> None:
        super().__init__()
        self.line = line
        vars(self).update(settings)

    def _step(self, stage: Stage, batch: list[Tensor]) -> Tensor:
        x, y = batch
        errors = (self.line(x) - y).square().squeeze(1)
        self.add(stage, {"loss": errors})
        return errors.mean()

    def training_step(self, batch, batch_idx):
        return self._step("train", batch)

    def validation_step(self, batch, batch_idx):
        self._step("val", batch)

    def test_step(self, batch, batch_idx):
        self._step("test", batch)


class Settings(RunSettings):
    """The settings of train.yaml."""

    data: Points
    model: nn.Linear


def assemble(config, data):
    line = instantiate(config["model"], nn.Linear, "model")
    return Line(
        line,
        optimizer=instantiate(config["optimizer"], OptimizerRecipe, "optimizer"),
        scheduler=instantiate(config["scheduler"], SchedulerRecipe, "scheduler"),
        parameter_groups=config["parameter_groups"],
        seed=config["seed"],
    )


PROJECT = Project(
    package="toy",
    root=Path(__file__).parent,
    settings=lambda: {"train": Settings, "report": ReportSettings},
    assemble=assemble,
    try_batch=lambda module, data: (["loss"], []),
    meanings=lambda *_: Meanings({"loss": Meaning("squared", ("points",))}, "points"),
)
