"""The type of each script's config."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import lightning as L
from pydantic import Field

from musigma.models import LatentVariableModel
from musigma.objectives import Objective
from musigma.published import Published
from workbench.config.settings import Name, ReportSettings, RunSettings
from workbench.devices import DeviceName
from workbench.ranges import Count, Finite, Seed

Output = Name | None
Format = Literal["torch", "onnx"]
Task = Literal["encode", "decode", "sample", "reconstruct", "traverse"]
Code = Literal["draw", "mu"]
Table = Literal[
    "epoch", "batch_sizes", "precisions", "scale", "stream", "sweeps", "commands", "many_jobs"
]


class TrainSettings(RunSettings):
    """`configs/train.yaml`, composed: settings, and configs of the objects of a run."""

    data: L.LightningDataModule
    model: LatentVariableModel
    module: NotRequired[L.LightningModule]
    published: NotRequired[dict[str, Published | None]]


class OpenedSettings(TypedDict):
    """The part of a run's config that is needed to open it."""

    data: L.LightningDataModule
    model: LatentVariableModel


class EvaluateSettings(TypedDict):
    """`configs/evaluate.yaml`."""

    run: Name | list[Name]
    checkpoint: Name
    images: Annotated[int, Field(ge=2)] | None
    samples: Annotated[int, Field(ge=25, le=1_000_000)]
    seed: Seed
    output: Output
    data: dict[str, Any]
    device: DeviceName
    log_dir: str


class ExportSettings(TypedDict):
    """`configs/export.yaml`."""

    format: Format
    run: Name
    checkpoint: Name
    output: Output
    device: DeviceName
    log_dir: str


class PredictSettings(TypedDict):
    """`configs/predict.yaml`."""

    task: Task
    run: Name
    checkpoint: Name
    input: Name
    count: Count
    seed: Seed
    z: Code
    image: Annotated[int, Field(ge=0)]
    offsets: Annotated[list[Finite], Field(min_length=1)]
    label: Annotated[int, Field(ge=0)] | None
    output: Output
    data: dict[str, Any]
    device: DeviceName
    log_dir: str


class BenchmarkSettings(TrainSettings):
    """`configs/benchmark.yaml`."""

    tables: list[Table]
    stream_images: Annotated[int, Field(ge=20)]
    stream_side: Count
    rounds: Count
    jobs: Count
    output: str


def settings() -> dict[str, type]:
    """The config type of each script, by its name."""
    return {
        "train": TrainSettings,
        "evaluate": EvaluateSettings,
        "export": ExportSettings,
        "predict": PredictSettings,
        "report": ReportSettings,
        "benchmark": BenchmarkSettings,
    }


def extra_nodes() -> dict[str, dict[str, Any]]:
    """Place the objective in the model's group, as presets choose the two together."""
    return {"model": {"objective": Objective}}
