"""Try a batch of random images before a job starts."""

import torch

from musigma.data import Batch, ForeignDataModule, ImageDataModule
from musigma.draw_checks import (
    check_density,
    check_differentiable,
    check_labels,
    check_samples,
    check_shapes,
    check_uses_prior,
    need_values,
)
from musigma.evaluation import pixel_integral
from musigma.models import LatentVariableModel
from musigma.module import AutoencoderModule
from musigma.objectives import Draw
from musigma.objectives.likelihoods import Likelihood
from workbench.config.blame import blaming
from workbench.errors import ConfigError
from workbench.optimizers.parts import is_within

MOST_SAMPLES = 2
"""The largest number of samples per image to try; more could take a lot of memory."""

POINTS = (2**13, 2**18)
"""The numbers of points at which to integrate a density; the second if the first seem too few."""

_normalised: set[type] = set()
"""Likelihoods that this process has found to be normalised."""


def try_batch(module: AutoencoderModule, data: ImageDataModule) -> tuple[list[str], list[str]]:
    """Compute the loss of two random images; return the names of its terms and settings.

    Raises:
        ConfigError: if it cannot be computed, draws have no gradient, gradients reach weights of
            other optimizers, the model uses labels or another density than its decoder's without
            declaring it, samples of the prior do not follow their seed, the likelihood is not
            normalised, or batches of one image give no finite terms.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = {name: getattr(data, name, 2) for name in ("batch_size", "eval_batch_size")}
    smallest = min(sizes, key=lambda name: sizes[name])
    count = min(2, sizes[smallest])
    x = _random_images(data, count, generator)
    samples = min(module.objective.samples, MOST_SAMPLES)
    noise = torch.randn(samples, count, module.model.noise_dim, generator=generator)
    device = next(module.parameters()).device  # "meta" while jobs are checked
    y = torch.zeros(count, dtype=torch.long, device=device)
    with blaming(f"model: the loss of {count} images cannot be computed"):
        batch = Batch(x.to(device), y, None)
        model = module.model.given(batch)
        check_shapes(model, batch.x, generator)
        _, terms, settings = module.terms(batch, noise.to(device), count, 0)
        draw = model.draw(batch.x, noise.to(device), count)
        check_differentiable(module.objective, draw)
        check_uses_prior(module.objective, draw)
        _check_gradients(module, draw)
        check_density(module.model, batch, noise.to(device))
        check_labels(module.model, batch, noise.to(device))
        check_samples(module.model)
        _check_normalised(module.model)
    if count == 1 and (undefined := [n for n, term in terms.items() if not term.isfinite().all()]):
        raise ConfigError(
            f"data.{smallest}=1: {undefined[0]} compares the images of a batch: set 2 or more"
        )
    return [*terms], [*settings]


def _random_images(data: ImageDataModule, count: int, generator: torch.Generator) -> torch.Tensor:
    if isinstance(data, ForeignDataModule):  # 0 and 1 are valid pixels of every kind
        return torch.rand(count, *data.image_shape, generator=generator).round()
    grey = torch.randint(0, 256, (count, *data.image_shape), generator=generator)
    return data.normalization(data.normalization.prepare(grey.to(torch.uint8)), generator)


def _check_normalised(model: LatentVariableModel) -> None:
    """Raise a ConfigError if p(x|z) does not integrate to 1, and its class does not say so.

    Its ELBO would be compared with those of densities. It is tried on an image of one pixel; what
    takes no such images is not tried.
    """
    likelihood = model.likelihood
    kind = type(likelihood)
    is_of_grey_levels = likelihood.is_probability and set(likelihood.pixels) != {"binary"}
    may_lack_pixels = kind.observed is not Likelihood.observed
    if _states_density(likelihood) or is_of_grey_levels or may_lack_pixels or kind in _normalised:
        return
    need_values(model, "its likelihood")
    integrals = (pixel_integral(likelihood, points) for points in POINTS)
    for total in integrals:
        if total is None or abs(total - 1) < 0.05:
            _normalised.add(kind)
            return
    raise ConfigError(
        f"model: exp(log_prob) of {kind.__name__} integrates to {total:.3g} over a pixel, not to "
        "1, and its ELBO would be compared with those of densities: add the constant that log_prob "
        "lacks, or set in the class is_density = False, is_probability = True if it is one of grey "
        "levels, or is_density = True if it is a density all the same"
    )


def _states_density(likelihood: Likelihood) -> bool:
    """Whether `is_density` is set by the instance, or by the class that defines `log_prob`."""
    kinds = type(likelihood).__mro__
    last = next(i for i, kind in enumerate(kinds) if "log_prob" in vars(kind))
    return any("is_density" in vars(each) for each in (likelihood, *kinds[: last + 1]))


def _check_gradients(module: AutoencoderModule, draw: Draw) -> None:
    """Raise a ConfigError if a term has gradients for weights of another optimizer than its own.

    The objective and the penalties train the weights of the model, and each own term those of one
    learner.
    """
    learners = module.learners()
    if not learners:
        return
    weights = {n: p for n, p in module.named_parameters() if p.requires_grad}
    own_terms = {**draw.own_terms, **module.objective.own_terms(draw, 0)}
    loss = module.objective(draw, 0).loss
    trained_parts: set[str] = set()
    for name, value in {"loss": loss, **draw.penalties, **own_terms}.items():
        if not value.requires_grad:
            continue
        gradients = torch.autograd.grad(
            value.mean(), [*weights.values()], retain_graph=True, allow_unused=True
        )
        reached = {
            next((part for part in learners if is_within(weight, part)), "the model"): weight
            for weight, gradient in zip(weights, gradients, strict=True)
            if gradient is not None
        }
        first = next((part for part in reached if part in learners), "a learner")
        trained = first if name in own_terms else "the model"
        trained_parts.add(trained)
        if wrong := [weight for part, weight in reached.items() if part != trained]:
            raise ConfigError(
                f"model: the gradient of {name}, which is for {trained}, reaches {wrong[0]}, which "
                "another optimizer trains: detach the codes in own_terms, which learners minimise, "
                "and the learners' weights in all other terms; put modules that one term trains "
                "together into one nn.ModuleDict, which is then one learner"
            )
    untrained = [
        p for p in learners if p not in trained_parts and any(is_within(w, p) for w in weights)
    ]
    if untrained:
        raise ConfigError(
            f"model: {untrained[0]} has an optimizer of its own, and no own term has a gradient "
            "for it: return a term that trains it in own_terms"
        )
