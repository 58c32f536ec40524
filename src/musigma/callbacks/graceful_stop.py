"""Ctrl-C between two batches, and not within one."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

import lightning as L

from musigma.callbacks.checkpoints import BestAndLast
from musigma.module import AutoencoderModule

log = logging.getLogger(__name__)


class GracefulStop(L.Callback):
    """On the first Ctrl-C, finishes the batch, saves `last.ckpt` and stops the run.

    A second Ctrl-C stops at once. With several processes Lightning's own handling stays: the
    run stops at once and keeps the checkpoint of the last epoch.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._previous: Any = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Listen for Ctrl-C."""
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._note)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: AutoencoderModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop here if asked to; after the last batch the epoch's own checkpoint is due first."""
        if self.stopping and batch_idx + 1 < trainer.num_training_batches:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, BestAndLast):
                    callback.save(trainer, "last")
            raise KeyboardInterrupt

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: AutoencoderModule) -> None:
        """Stop here if asked to while the last epoch was ending."""
        if self.stopping:
            raise KeyboardInterrupt

    def teardown(self, trainer: L.Trainer, pl_module: AutoencoderModule, stage: str) -> None:
        """Stop listening."""
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: AutoencoderModule, exception: BaseException
    ) -> None:
        """Stop listening."""
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True
        self._restore()
        log.warning("Stopping after this batch. Ctrl-C again stops at once.")

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
