"""Panels in TensorBoard, and under the names that configs give them the workbench's callbacks."""

from musigma.callbacks.image_panel import ImagePanel
from musigma.callbacks.latent_panel import LatentPanel
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
