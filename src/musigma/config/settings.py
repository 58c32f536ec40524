"""What the entries of a config are, or build."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import lightning as L
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pydantic import Field
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter

from musigma.data import ImageDataModule
from musigma.models import Autoencoder
from musigma.objectives import Objective
from musigma.ranges import Count, Seed, Weight

OptimizerRecipe = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerRecipe = Callable[[Optimizer], LRScheduler]


class TrainSettings(TypedDict):
    """`configs/train.yaml`, composed: settings, and descriptions of the objects of a run."""

    name: str
    seed: Seed
    compile: NotRequired[bool]
    matmul_precision: NotRequired[Literal["highest", "high", "medium"]]
    test: bool
    sweep: NotRequired[str | None]
    varied: NotRequired[list[str] | None]
    resume: str | None
    optimized_metric: str | None
    log_dir: str
    data: ImageDataModule
    model: Autoencoder
    optimizer: OptimizerRecipe
    scheduler: SchedulerRecipe | None
    trainer: L.Trainer
    callbacks: dict[str, L.Callback | None]
    logger: dict[str, Logger | None]


class OpenedSettings(TypedDict):
    """The part of a run's config that it is opened with."""

    data: ImageDataModule
    model: Autoencoder


class EvaluateSettings(TypedDict):
    """`configs/evaluate.yaml`."""

    run: str | list[str]
    checkpoint: Literal["best", "last"]
    images: Annotated[int, Field(ge=2)] | None
    samples: Annotated[int, Field(ge=25, le=1_000_000)]
    seed: Seed
    output: Annotated[str, Field(min_length=1)] | None
    data: dict[str, Any]
    log_dir: str


class ExportSettings(TypedDict):
    """`configs/export.yaml`."""

    run: str
    checkpoint: Literal["best", "last"]
    output: Annotated[str, Field(min_length=1)] | None
    log_dir: str


class PredictSettings(TypedDict):
    """`configs/predict.yaml`."""

    task: Literal["encode", "decode", "sample"]
    run: str
    checkpoint: Literal["best", "last"]
    input: Annotated[str, Field(min_length=1)]
    count: Count
    seed: Seed
    output: Annotated[str, Field(min_length=1)] | None
    data: dict[str, Any]
    log_dir: str


class ReportSettings(TypedDict):
    """`configs/report.yaml`."""

    sweep: str
    metric: str | None
    output: Annotated[str, Field(min_length=1)] | None
    log_dir: str


class BenchmarkSettings(TrainSettings):
    """`configs/benchmark.yaml`."""

    tables: list[Literal["epoch", "batch_sizes", "precisions", "scale", "sweeps", "commands"]]
    rounds: Count
    output: str


SETTINGS: dict[str, type] = {
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "export": ExportSettings,
    "predict": PredictSettings,
    "report": ReportSettings,
    "benchmark": BenchmarkSettings,
}
"""What the config of each script holds, by the script's name."""

GIVEN_LATER = {
    "model": {"image_shape"},
    "trainer": {"callbacks", "logger", "default_root_dir", "enable_checkpointing"},
    "logger.*": {"save_dir"},
}
"""Arguments that the run itself supplies, by the place of their target."""

KEPT_ASIDE: dict[str, dict[str, Any]] = {"model": {"objective": Objective}}
"""Entries that are described beside the arguments of a target and are none of them."""

Limit = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)]
"""So many batches, or such a share of an epoch's."""

RANGES = {
    "trainer.max_epochs": Annotated[int, Field(ge=-1)] | None,
    "trainer.log_every_n_steps": Annotated[int, Field(ge=0)] | None,
    "trainer.check_val_every_n_epoch": Count | None,
    "trainer.accumulate_grad_batches": Count,
    "trainer.gradient_clip_val": Weight | None,
    "trainer.val_check_interval": Count | Annotated[float, Field(gt=0, le=1)] | str | None,
    "trainer.max_steps": Annotated[int, Field(ge=-1)],
    "trainer.min_epochs": Count | None,
    "trainer.min_steps": Count | None,
    "trainer.num_nodes": Count,
    "trainer.limit_train_batches": Limit | None,
    "trainer.limit_val_batches": Limit | None,
    "trainer.limit_test_batches": Limit | None,
    "trainer.overfit_batches": Limit,
    "trainer.num_sanity_val_steps": Annotated[int, Field(ge=-1)] | None,
}
"""Ranges of a library's arguments that the library itself does not hold them to."""


def _wandb_init() -> Callable[..., Any]:
    import wandb

    return wandb.init


PASSED_ON: dict[Any, Callable[[], Callable[..., Any]]] = {
    TensorBoardLogger: lambda: SummaryWriter,
    WandbLogger: _wandb_init,
}
"""Whom a target gives the arguments to that it does not name itself."""

EXTRAS: dict[type, str] = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}
"""What a target needs that is not installed with the project: the extra, and its package."""
