"""Random draws in training that depend only on the seed and their place in the run."""

import logging
from collections.abc import Mapping
from typing import Any

import lightning as L

from workbench.reports import Reports
from workbench.seeding import derive_seed, seed_everything, seed_noise

log = logging.getLogger(__name__)


def next_epoch(fit_loop: Mapping[str, Any]) -> int:
    """The epoch that is trained next, from the state of Lightning's loop.

    All batches of the last epoch may be done, and its end, with the validation, not.
    """
    epochs, batches = fit_loop["epoch_progress"]["current"], fit_loop["epoch_loop.batch_progress"]
    is_trained = epochs["started"] > epochs["processed"] and batches["is_last_batch"]
    return int(epochs["processed"] + is_trained)


class SeededDraws:
    """Seeds loaders by (seed, rank, epoch), and modules by (seed, rank, epoch, batch).

    It is mixed into a LightningModule or a callback, which sets `seed`; Lightning calls the hooks
    of a callback with trainer and module as first arguments.
    """

    seed: int = 0
    _trainer: Any
    _first_epoch = 0
    _resumes_at_end = False
    """Whether all batches of the checkpoint's epoch are done: no hook begins the next epoch."""

    def on_fit_start(self, *args: Any) -> None:
        """Seed what a DataLoader draws for the first epoch, before that begins."""
        super().on_fit_start(*args)  # type: ignore[misc]
        seed_everything(self._seed_at(self._first_epoch))

    def on_train_start(self, *args: Any) -> None:
        """Log what cannot be resumed exactly."""
        super().on_train_start(*args)  # type: ignore[misc]
        if self._resumes_at_end:
            seed_everything(self._seed_at(self._first_epoch))
        loader = self._trainer.train_dataloader
        if not hasattr(loader, "state_dict"):
            log.info(
                "this loader has no state_dict: a run resumes exactly from the end of an epoch;\n"
                "if stopped within an epoch, it restarts that epoch with its first %s",
                self.examples,  # type: ignore[attr-defined]
            )
        if getattr(loader, "persistent_workers", False):
            log.info(
                "this loader keeps its workers between epochs (persistent_workers=True): what\n"
                "they draw at random depends on all earlier epochs, and differs in a resumed run"
            )

    def on_train_epoch_start(self, *args: Any) -> None:
        """Seed what a DataLoader draws for an epoch: its order and the seeds of its workers."""
        super().on_train_epoch_start(*args)  # type: ignore[misc]
        if (epoch := self._trainer.current_epoch) != self._first_epoch:  # whose iterator has drawn
            seed_everything(self._seed_at(epoch))

    def on_train_batch_start(self, *args: Any) -> None:
        """Seed the noise of a batch by its place, whatever was drawn before."""
        super().on_train_batch_start(*args)  # type: ignore[misc]
        self.seed_batch(args[-1])

    def seed_batch(self, batch_idx: int) -> None:
        """Seed the draws of a training batch."""
        device: Any = self.device  # type: ignore[attr-defined]
        seed_noise(device, self._seed_at(self._trainer.current_epoch, batch_idx))

    def on_load_checkpoint(self, *args: Any) -> None:
        """Note the first epoch that is trained."""
        super().on_load_checkpoint(*args)  # type: ignore[misc]
        if self.is_fitting():  # type: ignore[attr-defined]
            fit_loop = args[-1]["loops"]["fit_loop"]
            epochs = fit_loop["epoch_progress"]["current"]
            self._first_epoch = next_epoch(fit_loop)
            self._resumes_at_end = self._first_epoch > epochs["processed"]

    def _seed_at(self, *place: int) -> int:
        return derive_seed(self.seed, self._trainer.global_rank, *place)


class SeededReports(SeededDraws, Reports):
    """`Reports` of a foreign module that also seeds its draws.

    Args:
        monitor: the metric that decides which checkpoint is best, without its stage.
        seed: the seed of the run.
    """

    def __init__(self, monitor: str, seed: int) -> None:
        super().__init__(monitor)
        self.seed = seed

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log what is not resumed at all."""
        super().on_train_start(trainer, pl_module)
        log.info(
            "a resumed run has the same weights, optimizers, schedulers and random draws of\n"
            "torch, NumPy and random; any other state of %s is lost",
            type(pl_module).__name__,
        )

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed the draws of an evaluation, the same each time."""
        seed_noise(self.device, self._seed_at())

    on_test_epoch_start = on_validation_epoch_start
