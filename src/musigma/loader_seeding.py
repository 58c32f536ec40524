"""The LightningModule under which any DataLoader draws the same when a run is resumed."""

import logging
from typing import Any

from musigma.seeding import derive_seed, seed_everything
from workbench.module import ReportingModule

log = logging.getLogger(__name__)


def say_what_is_not_resumed(loader: Any) -> None:
    """Say what of a training loader is another in a run that is resumed."""
    if not hasattr(loader, "state_dict"):
        log.info(
            "this loader has no state_dict: a run resumes exactly from the end of an epoch,\n"
            "and in the middle of one begins with its first images again"
        )
    if getattr(loader, "persistent_workers", False):
        log.info(
            "this loader keeps its workers (persistent_workers): what these draw depends on\n"
            "all epochs before, and is something else in a run that is resumed"
        )


class LoaderSeedingModule(ReportingModule):
    """Makes what a loader draws in an epoch a function of (seed, rank, epoch).

    A subclass sets `seed`.
    """

    seed: int
    _first_epoch = 0

    def on_fit_start(self) -> None:
        """Seed what a DataLoader draws for its first epoch, which it does before that begins."""
        super().on_fit_start()
        self._seed_epoch(self._first_epoch)

    def on_train_start(self) -> None:
        """Say what cannot be resumed exactly."""
        say_what_is_not_resumed(self.trainer.train_dataloader)

    def on_train_epoch_start(self) -> None:
        """Seed what a DataLoader draws for an epoch, its order and the seeds of its workers."""
        super().on_train_epoch_start()
        if self.current_epoch != self._first_epoch:  # whose iterator has drawn already
            self._seed_epoch(self.current_epoch)

    def _seed_epoch(self, epoch: int) -> None:
        seed_everything(derive_seed(self.seed, self.global_rank, epoch))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the epoch that is trained first."""
        super().on_load_checkpoint(checkpoint)
        if self.is_fitting():
            epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
            self._first_epoch = epochs["processed"]
