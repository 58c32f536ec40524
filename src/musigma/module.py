"""The LightningModule: a model, an objective and an optimizer."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musigma.data import Batch
from musigma.early_stopping import why_stopped
from musigma.epoch_means import EpochMeans
from musigma.models import Autoencoder
from musigma.models.centering import set_output_bias
from musigma.models.posterior import PointPosterior
from musigma.objectives import Draw, Loss, Objective
from musigma.optimizer_numbers import numbers_of, set_numbers
from musigma.ranges import Seed, checked
from musigma.seeding import derive_seed, normal_noise, seed_noise

log = logging.getLogger(__name__)

Stage = Literal["train", "val", "test"]

EVALUATION_SEED = 0
"""Every run is evaluated with the same noise, so that differences are the models'."""


class AutoencoderModule(L.LightningModule):
    """Trains an autoencoder on an objective and reports named terms for train, val and test.

    The loss is the objective in nats per pixel, less the likelihood's constant: with a Laplace
    likelihood of scale 1 and no rate it is `F.l1_loss(x_hat, x)`, and with a rate it is
    (D + β·R) / pixels up to that constant. Distortion, rate and ELBO are in nats per image;
    `l1` and `mse` are mean errors per pixel of the reconstruction from a sampled z.

    The noise of a training batch is a function of (seed, rank, epoch, batch). The noise of an
    evaluated image is a function of its place in the data set.

    Args:
        model: what is trained.
        objective: what is minimised.
        optimizer: parameters → optimizer, such as a partial of a class in `torch.optim`.
        scheduler: optimizer → scheduler, stepped once an epoch.
        seed: of the noise in training.

    Raises:
        ValueError: if the objective needs a rate and the model's posterior is a point.
    """

    @checked
    def __init__(
        self,
        model: Autoencoder,
        objective: Objective,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = Adam,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        if objective.needs_rate and model.posterior == "point":
            raise ValueError(
                f"the objective {type(objective).__name__} weighs a rate, and a point posterior "
                "has none: choose posterior normal, or the objective reconstruction"
            )
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.seed = seed
        self.means = {stage: EpochMeans() for stage in ("train", "val", "test")}
        self.settings: dict[str, float] = {}
        self.tested_step: int | None = None
        self._validation: dict[str, float] = {}
        self._validated_step: int | None = None

    def setup(self, stage: str) -> None:
        """Begin at the mean image where the model asks for it; a checkpoint comes after this."""
        if stage == "fit" and self.model.center_output:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            mean = self.model.likelihood.output_of(data.mean_image())
            set_output_bias(self.model.decoder, mean)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch, a scalar."""
        noise = torch.randn(
            self.objective.samples, len(batch.x), self.model.latent_dim, device=self.device
        )
        return self._shared_step("train", batch, noise, self.trainer.train_dataloader)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log `train/..._step`, now and then: the means of one batch, the last before this step.

        Where gradients of several batches are accumulated the others are not in it. The learning
        rate is noted here too: at the end of an epoch a scheduler has set the next one's.
        """
        self.settings = {**self.settings, "lr": optimizer.param_groups[0]["lr"]}
        every_n_steps: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every_n_steps and (self.global_step + 1) % every_n_steps == 0:
            means = self.means["train"].of_last_batch()
            figures = {f"train/{name}_step": value for name, value in means.items()}
            self._log_now(figures, step=self.global_step)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the figures `val/...`."""
        noise = self.evaluation_noise[:, batch.row]
        self._shared_step("val", batch, noise, self.trainer.val_dataloaders)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the figures `test/...`."""
        noise = self.evaluation_noise[:, batch.row]
        self._shared_step("test", batch, noise, self.trainer.test_dataloaders)

    def _shared_step(self, stage: Stage, batch: Batch, noise: Tensor, loader: Any) -> Tensor:
        step = self.tested_step if stage == "test" else None
        step = self.global_step if step is None else step
        loss, terms, settings = self.terms(batch.x, noise, len(loader.dataset), step)
        if stage == "train":
            self.settings = {**self.settings, **settings}
        self.means[stage].add(terms)
        return loss

    def terms(self, x: Tensor, noise: Tensor, dataset_size: int, step: int) -> Loss:
        """The loss of a batch, in nats per pixel, and what is reported of each image, `[B]` each.

        Args:
            x: images, `[B, C, H, W]`.
            noise: of the K draws, `[K, B, d]`.
            dataset_size: how many images the batch was taken from.
            step: the optimizer step, counted from 0.
        """
        posterior = self.model.encode(x)
        z = posterior.rsample(noise)
        output = self.model.decode(z)
        std = None if isinstance(posterior, PointPosterior) else posterior.std
        log_likelihood = self.model.likelihood.log_prob(x, output)
        draw = Draw(log_likelihood, z, posterior.mu, std, dataset_size)
        objective, terms, settings = self.objective(draw, step)
        pixels = math.prod(self.model.image_shape)
        loss = objective / pixels - self.model.likelihood.constant
        with torch.no_grad():
            error = (self.model.likelihood.mean(output) - x).flatten(2)
            errors = {
                "l1": error.abs().mean((0, 2)),
                "mse": error.square().mean((0, 2)),
            }
        return Loss(loss, {"loss": loss.detach().expand(len(x)), **terms, **errors}, settings)

    def on_fit_start(self) -> None:
        """Train no further where early stopping had ended a run that is resumed."""
        metrics = {f"val/{name}": value for name, value in self._validation.items()}
        metrics |= {f"train/{name}": value for name, value in self.figures("train").items()}
        for callback in self._early_stopping():
            if reason := why_stopped(callback, metrics):
                self.trainer.should_stop = True
                log.info("early stopping had ended this run: %s; change that to train on", reason)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make the batch's noise depend on where it is and on nothing that came before."""
        place = (self.seed, self.global_rank, self.current_epoch, batch_idx)
        seed_noise(self.device, derive_seed(*place))

    def on_train_epoch_start(self) -> None:
        """Begin the figures of an epoch."""
        self.means["train"].reset()

    def on_validation_epoch_start(self) -> None:
        """Begin the figures of a validation."""
        self._begin_evaluation("val", self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        """Begin the figures of the test."""
        self._begin_evaluation("test", self.trainer.test_dataloaders)

    def on_train_epoch_end(self) -> None:
        """Report the epoch's figures, its last learning rate and the objective's settings."""
        figures = {**self.figures("train"), **self.settings}
        self.report({f"train/{name}": value for name, value in figures.items()})

    def on_validation_epoch_end(self) -> None:
        """Report the validation's figures; those of a sanity check are gone after it."""
        figures = self._report("val")
        if self.trainer.sanity_checking:
            self.means["val"].reset()
        else:
            self._validation, self._validated_step = figures, self.global_step

    def on_test_epoch_end(self) -> None:
        """Report the test's figures."""
        self._report("test")

    def report(self, figures: dict[str, float]) -> None:
        """Hand figures of an epoch of training, equal on all ranks, to callbacks and loggers."""
        self.log_dict(figures, sync_dist=True, logger=False)
        self._log_now(figures, step=self.global_step - 1)

    def figures(self, stage: Stage) -> dict[str, float]:
        """Means over the images of the present or last epoch, on all ranks; all must call it."""
        reduce = self.trainer.strategy.reduce
        return self.means[stage].compute(lambda sums: reduce(sums, reduce_op="sum"))

    def validation(self) -> dict[str, float]:
        """The validation metrics of the present weights; none where those were not validated."""
        return self._validation if self._validated_step == self.global_step else {}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over all parameters, and the scheduler where there is one."""
        optimizer = self.optimizer(self.parameters())
        self._numbers = [numbers_of(group) for group in optimizer.param_groups]
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.scheduler(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the figures of the epoch so far, and of these weights' validation."""
        checkpoint["epoch_means"] = self.means["train"].state_dict()
        checkpoint["settings"] = self.settings
        checkpoint["optimizer_numbers"] = self._numbers
        self.add_validation(checkpoint)

    def add_validation(self, checkpoint: dict[str, Any]) -> None:
        """Add the metrics of these weights' validation, and at which step it was."""
        checkpoint["validation"] = self.validation()
        checkpoint["validated_step"] = self.global_step if self.validation() else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the figures of the epoch, under the optimizer's present numbers."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            optimizer = self.optimizer(self.parameters())
            numbers = [numbers_of(group) for group in optimizer.param_groups]
            scheduler = self.scheduler(optimizer) if self.scheduler else None
            set_numbers(checkpoint, numbers, optimizer, scheduler)
        self.means["train"].load_state_dict(checkpoint["epoch_means"], self.device)
        self.settings = checkpoint.get("settings", {})  # absent before version 0.2
        self._validation = checkpoint.get("validation", {})
        # Absent from checkpoints whose validation may have been one of other weights.
        self._validated_step = checkpoint.get("validated_step")
        for callback in self._early_stopping():  # which would take the old patience from its state
            if state := checkpoint["callbacks"].get(callback.state_key):
                state["patience"] = callback.patience

    def _log_now(self, figures: dict[str, float], step: int) -> None:
        """Hand figures to the loggers before a checkpoint of this step is written.

        Lightning would do so after it: of a run that is killed between the two and goes on, the
        curves would lack a point.
        """
        for logger in self.trainer.loggers:
            logger.log_metrics(figures, step=step)

    def _early_stopping(self) -> list[Any]:
        return [*self.trainer.early_stopping_callbacks]

    def _begin_evaluation(self, stage: Stage, loader: Any) -> None:
        self.means[stage].reset()
        shape = (self.objective.samples, len(loader.dataset), self.model.latent_dim)
        self.evaluation_noise = normal_noise(*shape, seed=EVALUATION_SEED).to(self.device)

    def _report(self, stage: Stage) -> dict[str, float]:
        figures = self.figures(stage)
        named = {f"{stage}/{name}": value for name, value in figures.items()}
        # After training Lightning would log a validation one step later than during it.
        is_late = self.trainer.state.fn == TrainerFn.VALIDATING
        # Equal on all ranks already; sync_dist only says that this is known.
        self.log_dict(named, sync_dist=True, logger=False if is_late else None)
        if is_late:
            self._log_now(named, step=max(0, self.global_step - 1))
        return figures
