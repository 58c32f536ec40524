"""Graceful stop of a run, between two batches."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from workbench.callbacks.checkpoints import BestAndLast
from workbench.signals import current_handlers, handle, restore

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
REQUEUE = signal.SIGUSR2
"""Sent by submitit to a job whose time is up; its handler puts the job back into the queue."""


class GracefulStop(Checkpoint):
    """On a signal, finishes the batch, saves `last.ckpt` and stops the run.

    The signals are Ctrl-C, SIGTERM and SIGUSR1, of which Slurm sends the latter two before it ends
    a job, and SIGHUP, sent when a terminal is closed; under `nohup` the process ignores that one,
    and the run goes on. A second Ctrl-C stops at once. SIGUSR2 is passed on to submitit, if that
    handles it, once the checkpoint is saved. If one of several processes gets a signal, all stop
    after the same batch.

    It is a `Checkpoint` because Lightning calls those after all other callbacks, so that what these
    made of the batch, such as an average of the weights, is saved too.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._received: int | None = None
        self._previous: dict[int, Any] = {}
        self._cpu_group: Any = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._prints = trainer.local_rank == 0  # once for each node
        if trainer.world_size > 1 and self._cpu_group is None and _are_connected():
            self._cpu_group = torch.distributed.new_group(backend="gloo")
        if stage == "fit" or trainer.world_size > 1:
            self._listen()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace Lightning's handlers: that of SIGTERM would wait in vain for other processes."""
        if self._previous and not self.stopping:
            self._listen()

    on_validation_start = on_test_start = on_train_start

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        """Stop, unless gradients are accumulating, or the epoch's own checkpoint is due first."""
        is_between_steps = (rest[-1] + 1) % trainer.accumulate_grad_batches == 0
        if is_between_steps and not trainer.is_last_batch and self._is_asked(trainer):
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, BestAndLast):
                    callback.save(trainer, "last")
            self._stop()

    def on_train_epoch_start(self, trainer: L.Trainer, *_: object) -> None:
        """Stop if asked to at the end of the previous epoch."""
        if self._is_asked(trainer):
            self._stop()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop if asked to at the end of the last epoch or, with several processes, in the test."""
        self._stop_at_end(trainer)

    on_test_end = on_fit_end

    def on_validation_end(self, trainer: L.Trainer, *_: object) -> None:
        """Stop if asked to in a validation after training, with several processes."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._stop_at_end(trainer)

    def teardown(self, *_: object, **__: object) -> None:
        restore(self._previous)
        self._previous = {}

    def on_exception(self, *_: object) -> None:
        restore(self._previous)

    def _is_asked(self, trainer: L.Trainer) -> bool:
        """Whether any process was asked to stop; all must call this.

        They communicate through a group of their CPUs: reading the result of a collective on the
        devices would make each step wait for its device.
        """
        if self._cpu_group is None:
            return trainer.strategy.reduce_boolean_decision(self.stopping, all=False)
        asked = torch.tensor(int(self.stopping), device="cpu")
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX, self._cpu_group)
        return bool(asked)

    def _stop_at_end(self, trainer: L.Trainer) -> None:
        if self._is_asked(trainer):
            restore(self._previous)
            self._stop()

    def _stop(self) -> None:
        if self._received == REQUEUE:
            signal.raise_signal(REQUEUE)  # submitit's handler is restored, and exits
        raise KeyboardInterrupt

    def _listen(self) -> None:
        requeue = [REQUEUE] if callable(signal.getsignal(REQUEUE)) else []
        self._previous = handle((*SIGNALS, *requeue), self._handle) | self._previous

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.stopping, self._received = True, signum
        restore(self._previous)
        name = signal.Signals(signum).name
        text = f"\n{name}: stopping after this batch. Ctrl-C again stops at once.\n"
        # Not by print, which the signal may have interrupted.
        with suppress(OSError):
            os.write(1, text.encode() if self._prints else b"")


def _are_connected() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGTERM, SIGUSR1 and SIGHUP act like Ctrl-C, unless something else handles them."""
    before = handle([n for n in SIGNALS if signal.getsignal(n) == signal.SIG_DFL], _interrupt)
    try:
        yield
    finally:
        restore(before)


@contextmanager
def stoppable(trainer: L.Trainer, at_once: bool = False) -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt, and restore the signal handlers at the end.

    Lightning would raise SystemExit, and leave handlers of its own behind. With `at_once`, SIGTERM,
    SIGUSR1 and SIGHUP raise KeyboardInterrupt too.
    """
    before = current_handlers((*SIGNALS, REQUEUE))
    if at_once:
        handle(SIGNALS, _interrupt)
    try:
        yield
    except SystemExit as end:
        if trainer.interrupted and end.code in (None, 0, 1):
            raise KeyboardInterrupt from None
        raise
    finally:
        restore(before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
