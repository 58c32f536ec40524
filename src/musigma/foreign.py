"""Seeds for a LightningModule of the user's own class."""

import logging
from typing import Any

import lightning as L

from musigma.loader_seeding import say_what_is_not_resumed
from musigma.seeding import derive_seed, seed_everything, seed_noise
from workbench.foreign import Reports

log = logging.getLogger(__name__)


class SeededReports(Reports):
    """Makes what a foreign module and its loaders draw a function of (seed, rank, epoch, batch).

    Args:
        monitor: the metric that decides which checkpoint is best, without its stage.
        seed: of the run.
    """

    def __init__(self, monitor: str, seed: int) -> None:
        super().__init__(monitor)
        self.seed = seed
        self._first_epoch = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed what a DataLoader draws for its first epoch, which it does before that begins."""
        self._seed(trainer.global_rank, self._first_epoch)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what cannot be resumed exactly."""
        super().on_train_start(trainer, pl_module)
        say_what_is_not_resumed(trainer.train_dataloader)
        log.info(
            "resumed, a run has its weights, optimizers, schedulers and what torch, NumPy\n"
            "and random draw; what %s keeps elsewhere begins anew",
            type(pl_module).__name__,
        )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed what a DataLoader draws for an epoch."""
        super().on_train_epoch_start(trainer, pl_module)
        if trainer.current_epoch != self._first_epoch:  # whose iterator has drawn already
            self._seed(trainer.global_rank, trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the batch's noise by its place, and by nothing that came before."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        place = (self.seed, trainer.global_rank, trainer.current_epoch, batch_idx)
        seed_noise(self.device, derive_seed(*place))

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed what an evaluation draws, the same each time."""
        seed_noise(self.device, derive_seed(self.seed, trainer.global_rank))

    on_test_epoch_start = on_validation_epoch_start

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the epoch that is trained first."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        self._first_epoch = epochs["processed"]

    def _seed(self, rank: int, epoch: int) -> None:
        seed_everything(derive_seed(self.seed, rank, epoch))
