"""The panels and the workbench's callbacks, under the names that configs give them."""

from musigma.callbacks.panels import ImagePanel, LatentPanel
from workbench.callbacks import (
    BestAndLast,
    EpochLines,
    GracefulStop,
    HParams,
    Progress,
    StopWhenNotFinite,
    Throughput,
)

__all__ = [
    "BestAndLast",
    "EpochLines",
    "GracefulStop",
    "HParams",
    "ImagePanel",
    "LatentPanel",
    "Progress",
    "StopWhenNotFinite",
    "Throughput",
]
