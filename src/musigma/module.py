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
from musigma.loader_seeding import LoaderSeedingModule
from musigma.models import LatentVariableModel, Posterior
from musigma.objectives import Loss, Objective
from musigma.objectives.objective import learns, with_penalties
from musigma.seeding import FIXED_SEED, derive_seed, seed_noise
from workbench.errors import ConfigError
from workbench.module import Stage
from workbench.parameter_groups import OptimizerRecipe
from workbench.ranges import Seed, checked
from workbench.schedules import SchedulerRecipe

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


class AutoencoderModule(LoaderSeedingModule):
    """Trains an autoencoder on an objective and reports named terms for train, val and test.

    The loss is the objective in nats per pixel, less the likelihood's constant: with a Laplace
    likelihood of scale 1 and no rate it is `F.l1_loss(x_hat, x)`, and with a rate it is
    (D + β·R) / pixels up to that constant. Distortion, rate and ELBO are in nats per image;
    `l1` and `mse` are mean errors per pixel of the reconstruction from a sampled z.

    The noise of a training batch is a function of (seed, rank, epoch, batch). That of an evaluated
    image is a function of its place in the data set, so that runs differ by their models alone; of
    a stream without places, of (rank, batch).

    Any loader will do, of batches `x`, `(x, y)`, `{"x": x, "y": y}` or `Batch`; metrics of several
    validation or test loaders are means over all of their images. A run resumes to
    the same bits from the end of an epoch, as all that a DataLoader draws is a function of (seed,
    rank, epoch); from the middle of one if the loader has a `state_dict`, as this project's have.

    Args:
        model: is trained.
        objective: is minimised.
        optimizer: parameters → optimizer, such as a partial of a class in `torch.optim`.
        scheduler: optimizer → scheduler, stepped once an epoch; a partial may hold `interval`,
            `frequency` and `monitor` too.
        parameter_groups: settings of the optimizer by part: `{"decoder": {"lr": 1e-4}}`.
        seed: of the noise in training.

    Raises:
        ValueError: if the objective needs a rate and the model's posterior is a point, the prior
            is learned and the objective does not use it, posterior and prior are densities on
            different sets, or the objective learns and does not say its `monitor`.
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
        if objective.needs_rate and not model.has_density:
            raise ValueError(
                f"the objective {type(objective).__name__} weighs a rate, and a point posterior "
                "has none: choose posterior normal, or the objective reconstruction"
            )
        if not objective.uses_prior and any(True for _ in model.prior.parameters()):
            raise ValueError(
                f"the prior {type(model.prior).__name__} is learned, and the objective "
                f"{type(objective).__name__} holds no codes to it, so nothing would train it: "
                "choose prior standard_normal, or an objective with a rate, such as elbo"
            )
        if model.has_density and model.code_space != model.prior.code_space:
            raise ValueError(
                f"the prior {type(model.prior).__name__} is a density of {model.prior.code_space}, "
                f"and the posterior one of {model.code_space}: choose two of the same"
            )
        objective.bind(model)
        if learns(objective) and type(objective).monitor is Objective.monitor:
            raise ValueError(
                f"the objective {type(objective).__name__} changes as it learns, so that its "
                "losses do not compare between steps: say in the class, as `monitor`, which of its "
                "terms tells the better of two checkpoints, less being better (a buffer that never "
                "changes is registered with persistent=False)"
            )
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

    def setup(self, stage: str) -> None:
        """Check labels, and start decoder and prior at the mean image if they want to.

        Not those that are another run's. A checkpoint is loaded after this.
        """

        def is_new(part: str) -> bool:
            return not any(name.startswith(f"model.{part}.") for name in self.taken)

        data, model, starts = self._own_data(), self.model, []
        for labels in data.labels.values() if data else ():
            model.check(labels)
        if model.center_output and is_new("decoder"):
            starts.append(model.start_at)
        if model.prior.starts_at_mean_image and is_new("prior"):
            starts.append(model.prior.start_at)
        if stage != "fit" or not starts:
            return
        if data:
            mean_image = data.mean_image()
            for start_at in starts:
                start_at(mean_image)
        elif model.center_output:
            log.warning(
                "center_output is left out: the mean image of these data is not known; call "
                "module.model.start_at(mean_image) before training"
            )

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
        shape = (self.objective.samples, len(ours.x), self.model.noise_dim)
        # Of 32 bits first: in 64 other numbers would be drawn.
        noise = torch.randn(shape, dtype=torch.float32, device=ours.x.device).to(ours.x.dtype)
        loader: Any = self.trainer.train_dataloader
        loss = self._step("train", ours, noise, loader)
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
        if dtype.itemsize < 4:
            raise ConfigError(
                f"the model's weights are {dtype}, and codes and densities need 32 bits: leave "
                "them so, and let the trainer compute with precision='bf16-mixed'"
            )
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

    def _evaluate(
        self, stage: Stage, batch: Any, batch_idx: int, loaders: Any, loader_idx: int
    ) -> None:
        loader = loaders[loader_idx] if isinstance(loaders, list | tuple) else loaders
        ours = self._batch(batch, batch_idx)
        place = EvaluatedBatch(batch_idx, self.trainer.world_size, self.global_rank, loader)
        shape = (self.objective.samples, self.model.noise_dim)
        noise = self._evaluation_noise(ours, place, *shape).to(ours.x.dtype)
        # What a model or an objective draws beside that noise is the same in every evaluation too,
        # and changes nothing of what others draw next, such as the transforms of a loader.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            seed_noise(self.device, derive_seed(FIXED_SEED, self.global_rank, batch_idx))
            self._step(stage, ours, noise, loader)

    def _step(self, stage: Stage, batch: Batch, noise: Tensor, loader: Any) -> Tensor:
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
        if undeclared := sorted(draw.penalties.keys() - set(self.model.pays)):
            kind = type(self.model).__name__
            raise ConfigError(
                f"model: {kind} adds {', '.join(undeclared)} to the loss, so that its losses "
                f"compare with no others: say in the class pays = {(*self.model.pays, *undeclared)}"
            )
        objective, terms, settings = with_penalties(self.objective(draw, step), draw)
        loss = objective / math.prod(self.model.image_shape) - self.model.likelihood.constant
        for name, term in {**draw.own_terms, **self.objective.own_terms(draw, step)}.items():
            terms[name] = term.detach()
            loss = loss + (term.mean() - term.mean().detach())  # of its gradient, and not its value
        if objective.shape:
            raise ConfigError(
                f"model: the loss of {type(self.objective).__name__} has the shape "
                f"{list(objective.shape)}, and should be one number: take its mean over images"
            )
        for name, term in terms.items():
            if term.shape != (len(batch.x),):
                raise ConfigError(
                    f"model: the term {name} has the shape {list(term.shape)}, and should have a "
                    f"value for each image, [{len(batch.x)}]: sum over pixels and dimensions, and "
                    "expand what is one number for the whole batch"
                )
        with torch.no_grad():
            errors = pixel_errors(batch.x, self.model.likelihood.mean(draw.decoded()))
        of_each = loss.detach().expand(len(batch.x))
        return Loss(loss, {"loss": of_each, **terms, **errors}, settings)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the batch's noise by its place, and by nothing that came before."""
        place = (self.seed, self.global_rank, self.current_epoch, batch_idx)
        seed_noise(self.device, derive_seed(*place))
