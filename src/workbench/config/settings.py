"""The types of the entries of a config: of plain values, and of the objects that entries build."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import lightning as L
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pydantic import Field
from torch.utils.tensorboard import SummaryWriter

from workbench.loggers import TensorBoard
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.optimizers.schedules import TIMING, SchedulerRecipe
from workbench.ranges import Count, Seed, Weight

Name = Annotated[str, Field(min_length=1)]

PartSettings = dict[str, Any | dict[str, Any | dict[str, Any]]]
"""Settings of the optimizer for a part of the module, or for the parts inside it."""


class RunSettings(TypedDict):
    """The entries of the composed `configs/train.yaml`, except those that a project defines."""

    name: str
    seed: Seed
    monitor: NotRequired[Name | None]
    compile: NotRequired[bool]
    matmul_precision: NotRequired[Literal["highest", "high", "medium"]]
    test: bool
    sweep: NotRequired[str | None]
    varied: NotRequired[list[str] | None]
    init_from: NotRequired[Name | None]
    init_from_parts: NotRequired[list[Name] | None]
    freeze: NotRequired[list[Name] | None]
    resume: str | None
    optimized_metric: str | None
    log_dir: str
    optimizer: OptimizerRecipe
    scheduler: SchedulerRecipe | None
    parameter_groups: NotRequired[dict[str, PartSettings] | None]
    trainer: L.Trainer
    callbacks: dict[str, L.Callback | None]
    logger: dict[str, Logger | None]


class ReportSettings(TypedDict):
    """The entries of `configs/report.yaml`."""

    sweep: Name
    metric: Name | None
    output: Name | None
    every: Annotated[float, Field(ge=1)] | None
    log_dir: str


GIVEN_LATER = {
    "trainer": {"callbacks", "logger", "default_root_dir", "enable_checkpointing"},
    "logger.*": {"save_dir"},
}
"""Arguments that the run supplies itself, by the place of their target; a project adds its own."""

EXTRA_SETTINGS = {"scheduler": TIMING}
"""Settings besides the arguments of a target, with their types, by the place of the target."""

Limit = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)]
"""A number of batches (int), or a share of those in an epoch (float)."""

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
    "trainer.limit_train_batches": Annotated[float, Field(gt=0, le=1)] | Count | None,
    "trainer.limit_val_batches": Limit | None,
    "trainer.limit_test_batches": Limit | None,
    "trainer.overfit_batches": Limit,
    "trainer.num_sanity_val_steps": Annotated[int, Field(ge=-1)] | None,
}
"""Ranges of arguments that Lightning does not check itself."""


def _wandb_init() -> Callable[..., Any]:
    import wandb

    return wandb.init


KWARGS_RECEIVERS: dict[Any, Callable[[], Callable[..., Any]]] = {
    TensorBoardLogger: lambda: SummaryWriter,
    TensorBoard: lambda: SummaryWriter,
    WandbLogger: _wandb_init,
}
"""The callable, found by a function, to which a class of a library passes its `**kwargs`."""

EXTRAS: dict[type, str] = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}
"""The extra, which has the name of its package, that a target needs."""
