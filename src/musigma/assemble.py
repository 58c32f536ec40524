"""From a config to the objects of a run, and what of them fits together."""

import copy
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from musigma.data import Batch, ForeignDataModule, ImageDataModule
from musigma.data.batch import check_pixels
from musigma.data.normalization import Dequantize
from musigma.foreign import SeededReports
from musigma.models import LatentVariableModel
from musigma.module import AutoencoderModule
from musigma.objectives import Draw, Objective
from musigma.published import check_published
from musigma.seeding import FIXED_SEED
from workbench.config.blame import blaming
from workbench.config.instantiate import instantiate
from workbench.config.signatures import arguments_of
from workbench.config.targets import find_class, target_of
from workbench.errors import ConfigError, DataError
from workbench.foreign import adapted, is_foreign
from workbench.parameter_groups import OptimizerRecipe
from workbench.parts import is_within
from workbench.project import Config
from workbench.schedules import SchedulerRecipe

DEFAULT = "musigma.module.AutoencoderModule"
"""The module of configs that do not say which, as those of older versions."""

FEW_SAMPLES = 2
"""Samples of an image that are tried; many of them could take a lot of memory."""


def assemble(config: Config, data: ImageDataModule) -> L.LightningModule:
    """The LightningModule of a run: an `AutoencoderModule`, or of a class of the user's own.

    Raises:
        ConfigError: if its parts do not go together.
    """
    described = config.get("module") or {"_target_": DEFAULT}
    kind = target_of(described, L.LightningModule, "module")
    hints = {name: argument.hint for name, argument in arguments_of(kind)[0].items()}
    own = {
        name: instantiate(value, hints.get(name, Any), f"module.{name}")
        for name, value in described.items()
        if not name.startswith("_")
    }
    if is_foreign(kind):
        return _foreign(config, kind, own)
    model = build_model(config, data)
    objective = build_objective(config)
    optimizer = instantiate(config["optimizer"], OptimizerRecipe, "optimizer")
    scheduler = instantiate(config.get("scheduler") or None, SchedulerRecipe, "scheduler")
    settings = {
        "optimizer": optimizer,
        "scheduler": scheduler,
        "parameter_groups": config.get("parameter_groups"),
        "seed": config["seed"],
    }
    try:
        module: AutoencoderModule = kind(model, objective, **settings, **own)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    if config.get("compile", False):
        module.compile_training()
    return module


def _foreign(config: Config, kind: type, arguments: Mapping[str, Any]) -> L.LightningModule:
    reports = SeededReports(config.get("monitor") or "loss", config["seed"])
    try:
        module = adapted(kind, reports, arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"module: {kind.__name__}: {error}") from error
    if config.get("compile", False):
        for part in module.children():
            part.compile()  # in place, so that checkpoints keep their names
    return module


def build_data(config: Config) -> ImageDataModule:
    """The data module; nothing is read yet."""
    return adopt(config, instantiate(config["data"], L.LightningDataModule, "data"))


def adopt(config: Config, data: L.LightningDataModule) -> ImageDataModule:
    """A data module as one of this project: itself, or one of the user's own class in it."""
    if isinstance(data, ImageDataModule):
        return data
    if type(data).__module__.startswith("lightning."):  # its examples, one of which downloads
        raise ConfigError(f"data._target_: {type(data).__name__} is an example of Lightning's")
    return ForeignDataModule(data)


def unused(config: Config) -> dict[str, str]:
    """Settings that a module or data of the user's own take no notice of, with the reasons."""
    name = (config.get("module") or {}).get("_target_", DEFAULT)
    if not is_foreign(find_class(name, "module")):
        return {}
    reason = f"{name} has a model and optimizers of its own; its settings are module.…"
    groups = ("model", "optimizer", "scheduler", "parameter_groups")
    return {f"{group}{sign}": reason for group in groups for sign in "=./"}


def build_model(config: Config, data: ImageDataModule) -> LatentVariableModel:
    """The model, for images of the data's shape.

    One that takes a number of `classes`, and is not given it, gets the data's.

    Raises:
        ConfigError: if the likelihood is not for the data's pixels, or the model is told labels
            and there are others.
    """
    settings = {key: value for key, value in config["model"].items() if key != "objective"}
    if "classes" in arguments_of(target_of(settings, LatentVariableModel, "model"))[0]:
        settings["classes"] = settings.get("classes") or data.classes
    model: LatentVariableModel = instantiate(
        settings, LatentVariableModel, "model", image_shape=data.image_shape
    )
    if data.classes:
        try:
            model.check(torch.arange(data.classes, device="cpu"))
        except DataError as error:
            raise ConfigError(f"model: {data.name} has {data.classes} classes: {error}") from error
    if isinstance(data, ForeignDataModule):  # whose pixels are known by their values
        if data.is_prepared:
            check_pixels(data.first_batch().x, model.likelihood.pixels)
        return model
    pixels = data.normalization.pixels
    if pixels not in model.likelihood.pixels:
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is a density of "
            f"{' or '.join(model.likelihood.pixels)} pixels, and data.normalization gives "
            f"{pixels} ones; change one of the two"
        )
    if model.likelihood.is_probability and isinstance(data.normalization, Dequantize):
        raise ConfigError(
            f"model.likelihood: {type(model.likelihood).__name__} is the probability of grey "
            "levels, and data.normalization=dequantize leaves none: take unit"
        )
    return model


def build_objective(config: Config) -> Objective:
    """The objective of a run."""
    objective: Objective = instantiate(config["model"]["objective"], Objective, "model.objective")
    return objective


def rules(config: Config) -> None:
    """Check settings that may not fit one another.

    Raises:
        ConfigError: for it.
    """
    weights_in_32_bits(config)
    check_published(config)


def weights_in_32_bits(config: Config) -> None:
    """Refuse weights of 16 bits, as codes and densities are computed in 32.

    Raises:
        ConfigError: for such a precision.
    """
    precision = config["trainer"].get("precision")
    if precision in ("16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision: {precision} would keep weights in 16 bits too, and codes and "
            "densities need 32; take bf16-mixed or 32-true"
        )


def _random_images(data: ImageDataModule, count: int, generator: torch.Generator) -> torch.Tensor:
    if isinstance(data, ForeignDataModule):  # 0 and 1 are pixels of every kind
        return torch.rand(count, *data.image_shape, generator=generator).round()
    grey = torch.randint(0, 256, (count, *data.image_shape), generator=generator)
    return data.normalization(data.normalization.prepare(grey.to(torch.uint8)), generator)


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
