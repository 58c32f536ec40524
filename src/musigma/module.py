"""The LightningModule: a model, an objective and an optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from musigma.data import Batch, ImageDataModule
from musigma.data.batch import as_batch, check_pixels, size_of
from musigma.evaluation_noise import EvaluatedBatch, EvaluationNoise
from musigma.models import LatentVariableModel, Posterior
from musigma.objectives import Loss, Objective
from musigma.pairing import pair, start_at_mean_image
from musigma.seeding import FIXED_SEED, derive_seed, seed_noise
from musigma.step import loss_of
from workbench.compiling import CompiledTraining
from workbench.module import ReportingModule
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.optimizers.schedules import SchedulerRecipe
from workbench.ranges import Seed, checked
from workbench.resumable_loaders import weighted
from workbench.seeded_draws import SeededDraws
from workbench.stages import Stage


class Prediction(NamedTuple):
    """The predictions of `Trainer.predict` for a batch.

    Args:
        mu: the codes, `[B, d]`.
        std: the standard deviations of the posterior, `[B, d]`; 0 for a point.
        x_mean: the mean images of p(x|z) at z = mu, `[B, C, H, W]`, in normalised pixels.
    """

    mu: Tensor
    std: Tensor
    x_mean: Tensor


class AutoencoderModule(SeededDraws, CompiledTraining, ReportingModule):
    """Trains an autoencoder on an objective and reports named terms for train, val and test.

    The loss is the objective in nats per pixel, less the likelihood's constant: with a Laplace
    likelihood of scale 1 and no rate it is `F.l1_loss(x_hat, x)`, and with a rate it is
    (D + β·R) / pixels up to that constant. Distortion, rate and ELBO are in nats per image;
    `l1` and `mse` are mean errors per pixel of the reconstruction from a sampled z.

    The noise of a training batch is a function of (seed, rank, epoch, batch). That of an evaluated
    image is a function of its index in the data set, the same in all runs; see `EvaluationNoise`.

    Batches of any loader may be `x`, `(x, y)`, `{"x": x, "y": y}` or `Batch`; metrics of several
    validation or test loaders are means over all of their images. A run resumes to the same bits
    from the end of an epoch, and from the middle of one if the loader has a `state_dict`.

    Args:
        model: the model to train.
        objective: the objective to minimise.
        optimizer: parameters → optimizer, such as a partial of a class in `torch.optim`.
        scheduler: optimizer → scheduler, stepped once an epoch; a partial may also hold `interval`,
            `frequency` and `monitor`.
        parameter_groups: settings of the optimizer by part: `{"decoder": {"lr": 1e-4}}`.
        seed: the seed of the noise in training.

    Raises:
        ValueError: if model and objective do not fit together; see `musigma.pairing`.
    """

    examples: ClassVar[str] = "images"
    shown: ClassVar[tuple[str, ...]] = ("loss", "distortion", "rate")

    @checked
    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        *,
        optimizer: OptimizerRecipe = Adam,
        scheduler: SchedulerRecipe | None = None,
        parameter_groups: Mapping[str, Any] | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        pair(model, objective)
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.parameter_groups = parameter_groups
        self.seed = seed
        self.monitor = objective.monitor
        self._evaluation_noise = EvaluationNoise()

    def setup(self, stage: str) -> None:
        """Check labels, and initialise decoder and prior with the mean image if they ask for it.

        Parts whose weights came from another run stay unchanged. Checkpoints are loaded later.
        """
        data = self._image_data()
        for labels in data.labels.values() if data else ():
            self.model.check(labels)
        if stage == "fit":
            start_at_mean_image(self.model, data, self.transferred)

    def learners(self) -> dict[str, OptimizerRecipe]:
        """The optimizers of the model's and the objective's own learners, by part."""
        return {
            f"{prefix}.{name}": recipe
            for prefix, part in (("model", self.model), ("objective", self.objective))
            for name, recipe in part.learners().items()
        }

    def forward(self, x: Tensor) -> Posterior:
        """The codes of images, `[B, C, H, W]` → `[B, d]` each: `mu, std = module(x)`."""
        return self.model.encode(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = self._as_batch(batch, batch_idx)
        noise = self.training_noise(len(batch.x))
        loss = self._step("train", batch, noise, self.trainer.train_dataloader)
        return weighted(loss, self.trainer)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", batch, batch_idx, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", batch, batch_idx, dataloader_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        batch = self._as_batch(batch, batch_idx)
        model = self.model.given(batch)
        posterior = model.encode(batch.x)
        return Prediction(posterior.mu, posterior.std, model.images_of(posterior.mu))

    def _as_batch(self, batch: Any, batch_idx: int) -> Batch:
        """Convert a batch of any loader; labels and pixels of the first are checked."""
        dtype = next(self.model.parameters()).dtype
        converted = as_batch(batch, self.model.image_shape, dtype)
        if batch_idx == 0:
            self.model.check(converted.y)
            if not self._image_data():
                check_pixels(converted.x, self.model.likelihood.pixels)
        return converted

    def _image_data(self) -> ImageDataModule | None:
        """The data module, if it is an `ImageDataModule`."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return data if isinstance(data, ImageDataModule) else None

    def training_noise(self, count: int) -> Tensor:
        """Noise for `count` images, `[K, B, n]`; `on_train_batch_start` seeds the generator."""
        shape = (self.objective.samples, count, self.model.noise_dim)
        return torch.randn(shape, dtype=torch.float32, device=self.device)

    def evaluation_noise(self, batch: Batch, batch_idx: int, loader: Any) -> Tensor:
        """Noise for evaluated images, `[K, B, n]`."""
        at = EvaluatedBatch(batch_idx, self.trainer.world_size, self.global_rank, loader)
        return self._evaluation_noise(batch, at, self.objective.samples, self.model.noise_dim)

    def _evaluate(self, stage: Stage, batch: Any, batch_idx: int, loader_idx: int) -> None:
        loaders = getattr(self.trainer, f"{stage}_dataloaders")
        loader = loaders[loader_idx] if isinstance(loaders, list | tuple) else loaders
        batch = self._as_batch(batch, batch_idx)
        noise = self.evaluation_noise(batch, batch_idx, loader)
        # Further draws of a model or an objective are the same in every evaluation too, and leave
        # the generators unchanged for others, such as the transforms of a loader.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            seed_noise(self.device, derive_seed(FIXED_SEED, self.global_rank, batch_idx))
            self._step(stage, batch, noise, loader)

    def _step(self, stage: Stage, batch: Batch, noise: Tensor, loader: Any) -> Tensor:
        noise = noise.to(batch.x.dtype)  # drawn in 32 bits, because in 64 its values would differ
        tested = self.tested_step if stage == "test" else None
        step = self.global_step if tested is None else tested
        compute: Callable[..., Loss] = type(self).terms
        if stage == "train":
            compute = self.in_training(compute, has_hooks=self.objective.has_hooks)
        loss, terms, settings = compute(self, batch, noise, size_of(loader), step)
        self.add(stage, terms, **settings)
        return loss

    def terms(self, batch: Batch, noise: Tensor, dataset_size: int | None, step: int) -> Loss:
        """The loss, terms and settings of a batch from noise `[K, B, n]`; see `loss_of`.

        `dataset_size` is the number of images in the data set; None if unknown.
        """
        draw = self.model.given(batch).draw(batch.x, noise, dataset_size)
        return loss_of(draw, batch.x, self.model, self.objective, step)
