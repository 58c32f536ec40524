"""What watches a run."""

from musigma.callbacks.checkpoints import BestAndLast
from musigma.callbacks.graceful_stop import GracefulStop
from musigma.callbacks.hparams import HParams
from musigma.callbacks.image_panel import ImagePanel
from musigma.callbacks.latent_panel import LatentPanel
from musigma.callbacks.progress import Progress
from musigma.callbacks.stop_when_not_finite import StopWhenNotFinite
from musigma.callbacks.throughput import Throughput

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
