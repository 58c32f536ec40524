"""The panels and the workbench's callbacks, under the names that configs give them."""

from musigma.panels import ImagePanel, LatentPanel
from workbench.callbacks import (
    BestAndLast,
    GracefulStop,
    HParams,
    Progress,
    StopWhenNotFinite,
    Throughput,
)

__all__ = [
    "BestAndLast",
    "GracefulStop",
    "HParams",
    "ImagePanel",
    "LatentPanel",
    "Progress",
    "StopWhenNotFinite",
    "Throughput",
]
