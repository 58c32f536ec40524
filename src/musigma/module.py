"""The LightningModule: a model, an objective and an optimizer."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from musigma.compiling import compiled
from musigma.data import Batch, ImageDataModule
from musigma.data.batch import as_batch, check_pixels, size_of
from musigma.data.steps import StepLoader
from musigma.evaluation.reconstruction import pixel_errors
from musigma.evaluation_noise import EvaluatedBatch, EvaluationNoise
from musigma.models import LatentVariableModel, Posterior
from musigma.objectives import Loss, Objective
from musigma.objectives.objective import with_penalties
from musigma.pairing import check_penalties, check_shapes, pair, start_at_mean_image
from musigma.seeding import FIXED_SEED, derive_seed, seed_noise
from workbench.module import ReportingModule, Stage
from workbench.parameter_groups import OptimizerRecipe
from workbench.ranges import Seed, checked
from workbench.schedules import SchedulerRecipe
from workbench.seeded_draws import SeededDraws

log = logging.getLogger(__name__)


class Prediction(NamedTuple):
    """The predictions that `Trainer.predict` gives for a batch.

    Args:
        mu: the codes, `[B, d]`.
        std: of the posterior, `[B, d]`; that of a point is 0.
        x_mean: the mean images of p(x|z) at z = mu, `[B, C, H, W]`, in the data's own pixels.
    """

    mu: Tensor
    std: Tensor
    x_mean: Tensor


class AutoencoderModule(SeededDraws, ReportingModule):
    """Trains an autoencoder on an objective and reports named terms for train, val and test.

    The loss is the objective in nats per pixel, less the likelihood's constant: with a Laplace
    likelihood of scale 1 and no rate it is `F.l1_loss(x_hat, x)`, and with a rate it is
    (D + β·R) / pixels up to that constant. Distortion, rate and ELBO are in nats per image;
    `l1` and `mse` are mean errors per pixel of the reconstruction from a sampled z.

    The noise of a training batch is a function of (seed, rank, epoch, batch). That of an evaluated
    image is a function of its place in the data set, so that runs differ by their models alone; of
    a stream without places, of (rank, batch).

    Any loader will do, of batches `x`, `(x, y)`, `{"x": x, "y": y}` or `Batch`; metrics of several
    validation or test loaders are means over all of their images. A run resumes to the same bits
    from the end of an epoch, as all that a DataLoader draws is a function of (seed, rank, epoch),
    and from the middle of one if the loader has a `state_dict`, as this project's have.

    Args:
        model: is trained.
        objective: is minimised.
        optimizer: parameters → optimizer, such as a partial of a class in `torch.optim`.
        scheduler: optimizer → scheduler, stepped once an epoch; a partial may hold `interval`,
            `frequency` and `monitor` too.
        parameter_groups: settings of the optimizer by part: `{"decoder": {"lr": 1e-4}}`.
        seed: of the noise in training.

    Raises:
        ValueError: if model and objective do not go together; see `musigma.pairing`.
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
        self._is_compiled = False

    def compile_training(self) -> None:
        """Have torch compile what training computes of a batch, from the encoder to the loss.

        A GPU then replays its launches as CUDA graphs. Evaluation is not compiled. What was
        compiled before is forgotten, as torch compiles a function for a few modules only.
        """
        torch.compiler.reset()
        compiled.cache_clear()
        self._is_compiled = True

    def on_after_backward(self) -> None:
        """Keep gradients that the next batch adds to, as the next replay overwrites its own."""
        if self._is_compiled and self.trainer.accumulate_grad_batches > 1:
            for weight in self.parameters():
                if weight.grad is not None:
                    weight.grad = weight.grad.clone()

    def setup(self, stage: str) -> None:
        """Check labels, and start decoder and prior at the mean image if they want to.

        Those whose weights were taken from another run stay as they are. A checkpoint is loaded
        after this.
        """
        data = self._own_data()
        for labels in data.labels.values() if data else ():
            self.model.check(labels)
        if stage == "fit":
            start_at_mean_image(self.model, data, self.transferred)

    def learners(self) -> dict[str, OptimizerRecipe]:
        """The learners of the model and of the objective."""
        return {
            f"{part}.{name}": own
            for part, of in (("model", self.model), ("objective", self.objective))
            for name, own in of.learners().items()
        }

    def forward(self, x: Tensor) -> Posterior:
        """The codes of images: `mu, std = module(x)`."""
        return self.model.encode(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        ours = self._batch(batch, batch_idx)
        loader: Any = self.trainer.train_dataloader
        loss = self._step("train", ours, self.training_noise(len(ours.x)), loader)
        if not isinstance(loader, StepLoader):
            return loss
        trainer: Any = self.trainer
        weight = loader.weight(trainer.accumulate_grad_batches, trainer.num_training_batches)
        return loss if weight == 1 else weight * loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", batch, batch_idx, self.trainer.val_dataloaders, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", batch, batch_idx, self.trainer.test_dataloaders, dataloader_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        ours = self._batch(batch, batch_idx)
        model = self.model.given(ours)
        posterior = model.encode(ours.x)
        return Prediction(posterior.mu, posterior.std, model.images_of(posterior.mu))

    def _batch(self, batch: Any, batch_idx: int) -> Batch:
        """A batch of any loader as ours; the first is checked."""
        dtype = next(self.model.parameters()).dtype
        ours = as_batch(batch, self.model.image_shape, dtype)
        if batch_idx == 0:
            self.model.check(ours.y)
            if not self._own_data():
                check_pixels(ours.x, self.model.likelihood.pixels)
        return ours

    def _own_data(self) -> ImageDataModule | None:
        """The data module, if it is one of this project."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return data if isinstance(data, ImageDataModule) else None

    def training_noise(self, count: int) -> Tensor:
        """The noise of so many images, `[K, B, n]`; `on_train_batch_start` has seeded it."""
        shape = (self.objective.samples, count, self.model.noise_dim)
        return torch.randn(shape, dtype=torch.float32, device=self.device)

    def evaluation_noise(self, batch: Batch, batch_idx: int, loader: Any) -> Tensor:
        """The noise of images that are evaluated, `[K, B, n]`."""
        place = EvaluatedBatch(batch_idx, self.trainer.world_size, self.global_rank, loader)
        shape = (self.objective.samples, self.model.noise_dim)
        return self._evaluation_noise(batch, place, *shape)

    def _evaluate(
        self, stage: Stage, batch: Any, batch_idx: int, loaders: Any, loader_idx: int
    ) -> None:
        loader = loaders[loader_idx] if isinstance(loaders, list | tuple) else loaders
        ours = self._batch(batch, batch_idx)
        noise = self.evaluation_noise(ours, batch_idx, loader)
        # What a model or an objective draws beside that noise is the same in every evaluation too,
        # and changes nothing of what others draw next, such as the transforms of a loader.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            seed_noise(self.device, derive_seed(FIXED_SEED, self.global_rank, batch_idx))
            self._step(stage, ours, noise, loader)

    def _step(self, stage: Stage, batch: Batch, noise: Tensor, loader: Any) -> Tensor:
        noise = noise.to(batch.x.dtype)  # drawn in 32 bits, as in 64 it would be other noise
        tested = self.tested_step if stage == "test" else None
        step = self.global_step if tested is None else tested
        # Not a bound method, which a copy of this module would share with it.
        terms_of: Callable[..., Loss] = type(self).terms
        if stage == "train" and self._is_compiled:
            terms_of = compiled(terms_of, self.objective.has_hooks)
        loss, terms, settings = terms_of(self, batch, noise, size_of(loader), step)
        self.add(stage, terms, **settings)
        return loss

    def terms(self, batch: Batch, noise: Tensor, dataset_size: int | None, step: int) -> Loss:
        """The loss of a batch, in nats per pixel, and the terms of each image, `[B]` each.

        Args:
            batch: B images with what is known of them.
            noise: of the K draws, `[K, B, n]`.
            dataset_size: how many images the batch was taken from; None if that is not known.
            step: the optimizer step, counted from 0.
        """
        draw = self.model.given(batch).draw(batch.x, noise, dataset_size)
        check_penalties(self.model, draw)
        objective, terms, settings = with_penalties(self.objective(draw, step), draw)
        loss = objective / math.prod(self.model.image_shape) - self.model.likelihood.constant
        for name, term in {**draw.own_terms, **self.objective.own_terms(draw, step)}.items():
            terms[name] = term.detach()
            loss = loss + (term.mean() - term.mean().detach())  # of its gradient, and not its value
        check_shapes(self.objective, objective, terms, len(batch.x))
        with torch.no_grad():
            errors = pixel_errors(batch.x, self.model.likelihood.mean(draw.decoded()))
        of_each = loss.detach().expand(len(batch.x))
        return Loss(loss, {"loss": of_each, **terms, **errors}, settings)
