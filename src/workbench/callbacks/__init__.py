"""Callbacks: checkpoints, stopping, progress, throughput, and what loggers get."""

from workbench.callbacks.checkpoints import BestAndLast
from workbench.callbacks.epoch_lines import EpochLines
from workbench.callbacks.graceful_stop import GracefulStop
from workbench.callbacks.hparams import HParams
from workbench.callbacks.progress import Progress
from workbench.callbacks.stop_when_not_finite import StopWhenNotFinite
from workbench.callbacks.throughput import Throughput

__all__ = [
    "BestAndLast",
    "EpochLines",
    "GracefulStop",
    "HParams",
    "Progress",
    "StopWhenNotFinite",
    "Throughput",
]
