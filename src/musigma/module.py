"""The LightningModule: a model, an objective and an optimizer."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from musigma.data import Batch
from musigma.evaluation.reconstruction import pixel_errors
from musigma.models import Autoencoder
from musigma.models.posterior import Posterior
from musigma.objectives import Draw, Loss, Objective
from musigma.seeding import FIXED_SEED, derive_seed, normal_noise, seed_noise
from workbench.module import ReportingModule, Stage
from workbench.parameter_groups import OptimizerRecipe
from workbench.ranges import Seed, checked
from workbench.schedules import SchedulerRecipe


class Prediction(NamedTuple):
    """What `Trainer.predict` gives of a batch.

    Args:
        mu: the codes, `[B, d]`.
        std: of the posterior, `[B, d]`; that of a point is 0.
        x_mean: the mean images of p(x|z) at z = mu, `[B, C, H, W]`, in the data's own pixels.
    """

    mu: Tensor
    std: Tensor
    x_mean: Tensor


class AutoencoderModule(ReportingModule):
    """Trains an autoencoder on an objective and reports named terms for train, val and test.

    The loss is the objective in nats per pixel, less the likelihood's constant: with a Laplace
    likelihood of scale 1 and no rate it is `F.l1_loss(x_hat, x)`, and with a rate it is
    (D + β·R) / pixels up to that constant. Distortion, rate and ELBO are in nats per image;
    `l1` and `mse` are mean errors per pixel of the reconstruction from a sampled z.

    The noise of a training batch is a function of (seed, rank, epoch, batch). That of an evaluated
    image is a function of its place in the data set, so that runs differ by their models alone.

    Args:
        model: is trained.
        objective: is minimised.
        optimizer: parameters → optimizer, such as a partial of a class in `torch.optim`.
        scheduler: optimizer → scheduler, stepped once an epoch; a partial may hold `interval`,
            `frequency` and `monitor` too.
        parameter_groups: settings of the optimizer by part: `{"decoder": {"lr": 1e-4}}`.
        seed: of the noise in training.

    Raises:
        ValueError: if the objective needs a rate and the model's posterior is a point.
    """

    examples: ClassVar[str] = "images"
    shown: ClassVar[tuple[str, ...]] = ("loss", "distortion", "rate")

    @checked
    def __init__(
        self,
        model: Autoencoder,
        objective: Objective,
        *,
        optimizer: OptimizerRecipe = Adam,
        scheduler: SchedulerRecipe | None = None,
        parameter_groups: Mapping[str, Any] | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        if objective.needs_rate and not model.has_density:
            raise ValueError(
                f"the objective {type(objective).__name__} weighs a rate, and a point posterior "
                "has none: choose posterior normal, or the objective reconstruction"
            )
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.parameter_groups = parameter_groups
        self.seed = seed
        self.monitor = objective.monitor
        self._evaluation_noise = torch.empty(0)

    def setup(self, stage: str) -> None:
        """If `center_output`, start at the mean image; a checkpoint is loaded after this.

        Not if the decoder is another run's.
        """
        is_new = not any(name.startswith("model.decoder.") for name in self.taken)
        if stage == "fit" and self.model.center_output and is_new:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.model.start_at(data.mean_image())

    def forward(self, x: Tensor) -> Posterior:
        """The codes of images: `mu, std = module(x)`."""
        return self.model.encode(x)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        posterior = self(batch.x)
        x_mean = self.model.likelihood.mean(self.model.decode(posterior.mu))
        return Prediction(posterior.mu, posterior.std, x_mean)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        shape = (self.objective.samples, len(batch.x), self.model.latent_dim)
        noise = torch.randn(shape, device=self.device)
        return self._step("train", batch, noise, self.trainer.train_dataloader)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch, self.trainer.val_dataloaders)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch, self.trainer.test_dataloaders)

    def _evaluate(self, stage: Stage, batch: Batch, loader: Any) -> None:
        shape = (self.objective.samples, len(loader.dataset), self.model.latent_dim)
        noise = self._evaluation_noise
        if noise.shape != shape or noise.device != self.device:
            noise = self._evaluation_noise = normal_noise(*shape, seed=FIXED_SEED).to(self.device)
        self._step(stage, batch, noise[:, batch.row], loader)

    def _step(self, stage: Stage, batch: Batch, noise: Tensor, loader: Any) -> Tensor:
        tested = self.tested_step if stage == "test" else None
        step = self.global_step if tested is None else tested
        loss, terms, settings = self.terms(batch.x, noise, len(loader.dataset), step)
        self.add(stage, terms, **settings)
        return loss

    def terms(self, x: Tensor, noise: Tensor, dataset_size: int, step: int) -> Loss:
        """The loss of a batch, in nats per pixel, and the terms of each image, `[B]` each.

        Args:
            x: images, `[B, C, H, W]`.
            noise: of the K draws, `[K, B, d]`.
            dataset_size: how many images the batch was taken from.
            step: the optimizer step, counted from 0.
        """
        posterior = self.model.encode(x)
        z = posterior.rsample(noise)
        output = self.model.decode(z)
        draw = Draw(
            log_likelihood=self.model.likelihood.log_prob(x, output),
            z=z,
            mu=posterior.mu,
            std=posterior.std if posterior.has_density else None,
            dataset_size=dataset_size,
        )
        objective, terms, settings = self.objective(draw, step)
        loss = objective / math.prod(self.model.image_shape) - self.model.likelihood.constant
        with torch.no_grad():
            errors = pixel_errors(x, self.model.likelihood.mean(output))
        return Loss(loss, {"loss": loss.detach().expand(len(x)), **terms, **errors}, settings)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the batch's noise by its place, and by nothing that came before."""
        place = (self.seed, self.global_rank, self.current_epoch, batch_idx)
        seed_noise(self.device, derive_seed(*place))
