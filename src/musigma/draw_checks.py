"""Checks of a model's draws: shapes, gradients, and what they depend on."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from musigma.data import Batch
from musigma.evaluation import draws_from_decoder
from musigma.models import LatentVariableModel
from musigma.objectives import Draw, Objective
from musigma.objectives.draw import Prior
from musigma.seeding import FIXED_SEED
from workbench.errors import ConfigError

DRAWS = 3
"""The number of draws of each image whose shapes are checked, other than that of images."""


def check_shapes(model: LatentVariableModel, x: Tensor, generator: torch.Generator) -> None:
    """Raise a ConfigError if densities of draws have the wrong shape, which may not show in a sum.

    `DRAWS` of each image are tried, because evaluation takes several whatever the objective does.
    """
    noise = torch.randn(DRAWS, len(x), model.noise_dim, generator=generator)
    draw = model.draw(x, noise.to(x))
    q, of_q, of_p = draw.posterior, type(draw.posterior).__name__, type(draw.prior).__name__
    codes, per_draw = [len(x), model.latent_dim], [DRAWS, len(x)]
    shapes = [
        (f"mu of {of_q}", q.mu, codes),
        (f"std of {of_q}", q.std, codes),
        ("z", draw.z, [DRAWS, *codes]),
        ("log p(x|z)", draw.log_likelihood, per_draw),
    ]
    if model.has_density:
        shapes.append((f"log q(z|x), from log_prob of {of_q},", draw.log_posterior, per_draw))
        if model.prior.has_density:
            shapes.append((f"log p(z), from log_prob of {of_p},", draw.log_prior, per_draw))
    for name, value, expected in shapes:
        if [*value.shape] != expected:
            raise ConfigError(
                f"model: {name} has the shape {[*value.shape]} for {DRAWS} draws of {len(x)} "
                f"images, and should have {expected}"
            )


def check_differentiable(objective: Objective, draw: Draw) -> None:
    """Raise a ConfigError if draws lack a gradient that they need, or a detached q(z|x) has one."""
    q = draw.posterior
    kind = type(q).__name__
    if objective.needs_gradient_of_z and q.mu.requires_grad and not draw.z.requires_grad:
        raise ConfigError(
            f"model: the draws of {kind} have no gradient, and {type(objective).__name__} trains "
            "the encoder through them: make `rsample` differentiable, or choose an objective that "
            "takes the gradient of log q(z|x) instead, and sets needs_gradient_of_z = False in its "
            "class"
        )
    if q.has_density and q.detach().log_prob(draw.z.detach()).requires_grad:
        raise ConfigError(
            f"model: log_prob of a detached {kind} has a gradient, which would bias that of some "
            "objectives: `detach` must detach all parameters, and the weights of networks that "
            "log_prob calls, with with_detached_weights of musigma.models.posteriors.posterior"
        )


def check_uses_prior(objective: Objective, draw: Draw) -> None:
    """Raise a ConfigError if a loss does not depend on the prior, and its class does not say so.

    Without a prior, log p(x) and samples would mean nothing, and would be reported.
    """
    if type(objective).uses_prior is not Objective.uses_prior:
        return
    mark = draw.z.new_zeros((), requires_grad=True)
    loss = objective(replace(draw, prior=_marked(draw.prior, mark)), 0).loss
    if not loss.requires_grad or torch.autograd.grad(loss, mark, allow_unused=True)[0] is None:
        raise ConfigError(
            f"model: the loss of {type(objective).__name__} does not use the prior of the draw: "
            "set uses_prior = False in the class, so that log p(x) and samples are left out, or "
            "True if the loss pulls codes towards the prior in another way"
        )


def _marked(prior: Prior, mark: Tensor) -> Prior:
    """The same prior, on whose results a gradient shows that they were used."""
    marked = object.__new__(type(prior))
    marked.__dict__.update(prior.__dict__)
    for name in ("log_prob", "rate", "rate_per_dimension", "sample", "mean", "std"):
        object.__setattr__(marked, name, partial(_add, getattr(type(prior), name), marked, mark))
    return marked


def _add(
    method: Callable[..., Tensor | None], prior: Prior, mark: Tensor, *args: Any, **settings: Any
) -> Tensor | None:
    result = method(prior, *args, **settings)
    return None if result is None else result + mark.to(result)


def check_density(model: LatentVariableModel, batch: Batch, noise: Tensor) -> None:
    """Raise a ConfigError if a model's own `draw` gives another log p(x|z) than its decoder.

    Samples, and log p(x) by integration, are of the decoder. A model whose `evidence` is a density
    of its own may differ.
    """
    overrides_draw = type(model).draw is not LatentVariableModel.draw
    if not overrides_draw or model.evidence not in ("p(x)", "p(x|y)"):
        return
    need_values(model, "its density")
    view = copy.deepcopy(model).eval().given(batch)
    if not draws_from_decoder(view, batch.x, noise):
        raise ConfigError(
            f"model: for the same codes, `draw` of {type(model).__name__} gives another log p(x|z) "
            "than its decoder and likelihood do, from which samples are drawn, so that its ELBO "
            f"bounds no log {model.evidence}, and would be compared with those that do. Decode z "
            "alone, and declare further costs as penalties; or set `evidence` in the class to the "
            'density that the ELBO bounds, such as "p(hidden pixels|others)"'
        )


def check_labels(model: LatentVariableModel, batch: Batch, noise: Tensor) -> None:
    """Raise a ConfigError if the model uses labels without declaring it.

    Evaluation may depend on labels only if `conditioned_on` names them, and p(x|z) p(z) only if
    `evidence` is a density given them; other reported values, such as an accuracy, always may.
    """
    overrides_given = type(model).given is not LatentVariableModel.given
    is_declared = "y" in model.conditioned_on and model.evidence != LatentVariableModel.evidence
    if not overrides_given or is_declared:
        return
    need_values(model, "its use of labels")
    kind, trial = type(model).__name__, copy.deepcopy(model).eval()
    draws: list[Draw] = []
    joint = []
    for y in (batch.y, batch.y + 1):
        view = trial.given(batch._replace(y=y))
        with torch.no_grad(), torch.random.fork_rng([]):
            torch.manual_seed(FIXED_SEED)  # for values that the model draws beside the noise
            draws.append(view.draw(batch.x, noise, len(batch.x)))
            z = draws[0].z
            log_p = view.likelihood.log_prob(batch.x, view.decode(z))
            joint.append(log_p + view.prior.log_prob(z) if model.has_density else log_p)
    parts = [(d.z, d.log_likelihood, *([d.log_weights()] * model.has_density)) for d in draws]
    if "y" not in model.conditioned_on and not all(map(torch.equal, *parts)):
        raise ConfigError(
            f"model: {kind} uses labels in evaluation, and `conditioned_on` does not name them, so "
            "that its metrics would be compared with those of models without labels. Set "
            'conditioned_on = {"y"} and evidence in the class, or use labels only in training'
        )
    if "y" in model.conditioned_on and not torch.equal(*joint):
        raise ConfigError(
            f"model: the decoder or prior of {kind} depends on labels, so that its ELBO bounds no "
            f"log {model.evidence}, and would be compared with those that do: set in the class "
            'evidence = "p(x|y)"'
        )


def check_samples(model: LatentVariableModel) -> None:
    """Raise a ConfigError if samples of the prior are no function of the seed, or not as expected.

    Samples that are drawn without it differ in each command, and so do moments estimated from them.
    """
    prior = next(iter(model.views().values())).prior
    if prior.is_standard_normal:
        return
    need_values(model, "its prior")
    kind, expected = type(prior).__name__, [DRAWS, model.latent_dim]
    with torch.random.fork_rng([]):
        one, other = (prior.sample(DRAWS, seed=FIXED_SEED) for _ in range(2))
    if [*one.shape] != expected or one.dtype != torch.float32:
        raise ConfigError(
            f"model: `sample` of {kind} gives {one.dtype} {[*one.shape]} for {DRAWS} draws, and "
            f"should give torch.float32 {expected}"
        )
    if not torch.equal(one, other):
        raise ConfigError(
            f"model: `sample` of {kind} gives other draws when it is called again with the same "
            "seed: draw them with generator=torch.Generator().manual_seed(seed), or from "
            "musigma.seeding.normal_noise(..., seed=seed)"
        )


def need_values(model: LatentVariableModel, name: str) -> None:
    """Raise an error on the device "meta", which makes the caller try the CPU."""
    if model.device.type == "meta":
        raise ConfigError(f"model: {name} cannot be checked without values")
