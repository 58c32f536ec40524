"""A batch of random images that a job is tried on before it starts."""

import copy

import torch
from torch import Tensor

from musigma.data import Batch, ForeignDataModule, ImageDataModule
from musigma.models import LatentVariableModel
from musigma.module import AutoencoderModule
from musigma.objectives import Draw
from musigma.seeding import FIXED_SEED
from workbench.config.blame import blaming
from workbench.errors import ConfigError
from workbench.parts import is_within

FEW_SAMPLES = 2
"""Samples of an image that are tried; many of them could take a lot of memory."""


def try_batch(module: AutoencoderModule, data: ImageDataModule) -> tuple[list[str], list[str]]:
    """The terms and the objective's settings that a batch of two random images reports.

    Raises:
        ConfigError: if they cannot be computed, or the objective compares the images of a batch
            and batches are of one.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = {name: getattr(data, name, 2) for name in ("batch_size", "eval_batch_size")}
    smallest = min(sizes, key=lambda name: sizes[name])
    count = min(2, sizes[smallest])
    x = _random_images(data, count, generator)
    samples = min(module.objective.samples, FEW_SAMPLES)
    noise = torch.randn(samples, count, module.model.noise_dim, generator=generator)
    device = next(module.parameters()).device  # "meta" while jobs are checked
    y = torch.zeros(count, dtype=torch.long, device=device)
    with blaming(f"model: the loss of {count} images cannot be computed"):
        batch = Batch(x.to(device), y, None)
        _, terms, settings = module.terms(batch, noise.to(device), count, 0)
        _check_apart(module, batch, noise.to(device))
        _check_told(module.model, batch, noise.to(device))
    if count == 1 and (undefined := [n for n, term in terms.items() if not term.isfinite().all()]):
        raise ConfigError(
            f"data.{smallest}=1: {undefined[0]} compares the images of a batch: take 2 or more"
        )
    return [*terms], [*settings]


def _random_images(data: ImageDataModule, count: int, generator: torch.Generator) -> torch.Tensor:
    if isinstance(data, ForeignDataModule):  # 0 and 1 are pixels of every kind
        return torch.rand(count, *data.image_shape, generator=generator).round()
    grey = torch.randint(0, 256, (count, *data.image_shape), generator=generator)
    return data.normalization(data.normalization.prepare(grey.to(torch.uint8)), generator)


def _check_apart(module: AutoencoderModule, batch: Batch, noise: Tensor) -> None:
    """Raise a ConfigError if what one optimizer minimises reaches the weights of another.

    The objective and the penalties are for the model's weights, and each own term for one learner.
    """
    parts = module.learners()
    if not parts:
        return
    weights = {n: p for n, p in module.named_parameters() if p.requires_grad}
    draw = module.model.given(batch).draw(batch.x, noise, len(batch.x))
    own_terms = {**draw.own_terms, **module.objective.own_terms(draw, 0)}
    loss = module.objective(draw, 0).loss
    for name, value in {"loss": loss, **draw.penalties, **own_terms}.items():
        if not value.requires_grad:
            continue
        found = torch.autograd.grad(
            value.mean(), [*weights.values()], retain_graph=True, allow_unused=True
        )
        reached = {
            next((part for part in parts if is_within(weight, part)), "the model"): weight
            for weight, one in zip(weights, found, strict=True)
            if one is not None
        }
        first = next((part for part in reached if part in parts), "a learner")
        trained = first if name in own_terms else "the model"
        if wrong := [weight for part, weight in reached.items() if part != trained]:
            raise ConfigError(
                f"model: the gradient of {name}, which is for {trained}, reaches {wrong[0]}, which "
                "another optimizer trains: detach the codes in what learners minimise, their "
                "own_terms, and the learners' weights in all else"
            )


def _check_told(model: LatentVariableModel, batch: Batch, noise: Tensor) -> None:
    """Raise a ConfigError if labels are told that the model does not say it is told or speaks of.

    That is, if its evaluation depends on labels that `told` does not name, or p(x|z) p(z) on ones
    that `speaks_of` does not. Also on the device "meta", so that a model that may is tried on the
    CPU instead. What it reports may depend on them, an accuracy for example.
    """
    is_given = type(model).given is not LatentVariableModel.given
    if not is_given or ("y" in model.told and model.speaks_of != LatentVariableModel.speaks_of):
        return
    if model.device.type == "meta":
        raise ConfigError("model: without its values nobody sees what it does with labels")
    kind, tried = type(model).__name__, copy.deepcopy(model).eval()
    views = [tried.given(batch._replace(y=y)) for y in (batch.y, batch.y + 1)]
    draws: list[Draw] = []
    joint = []
    for view in views:
        with torch.no_grad(), torch.random.fork_rng([]):
            torch.manual_seed(FIXED_SEED)  # of what the model draws beside the noise
            draws.append(view.draw(batch.x, noise, len(batch.x)))
            z = draws[0].z
            log_p = view.likelihood.log_prob(batch.x, view.decode(z))
            joint.append(log_p + view.prior.log_prob(z) if model.has_density else log_p)
    parts = [(d.z, d.log_likelihood, *([d.log_weights()] * model.has_density)) for d in draws]
    if "y" not in model.told and not all(map(torch.equal, *parts)):
        raise ConfigError(
            f"model: {kind} is evaluated with labels, and `told` does not name "
            "them: its numbers would be compared with those of models that know none. State "
            'told = {"y"} and what it speaks of, or use labels in training only'
        )
    if "y" in model.told and not torch.equal(*joint):
        raise ConfigError(
            f"model: {kind} decodes by labels, or has a prior that goes by them, so that its ELBO "
            f"bounds no log {model.speaks_of}, and would be compared with those that do: say what "
            'it speaks of, speaks_of = "p(x|y)"'
        )
