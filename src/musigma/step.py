"""The loss of a batch and its terms: one step of training or evaluation."""

import math

import torch
from torch import Tensor

from musigma.evaluation.reconstruction import pixel_errors
from musigma.models import LatentVariableModel
from musigma.objectives import Draw, Loss, Objective
from musigma.objectives.objective import joined
from workbench.errors import ConfigError


def loss_of(
    draw: Draw, x: Tensor, model: LatentVariableModel, objective: Objective, step: int
) -> Loss:
    """The loss of B images `x`, in nats per pixel, its terms, `[B]` each, and reported settings.

    The loss is the objective with the model's penalties, divided by the number of pixels, less the
    likelihood's constant. Optimizer steps count from 0.

    Raises:
        ConfigError: if the loss or a term has another shape, two terms have one name, or the model
            adds a penalty that its class does not declare.
    """
    likelihood = model.likelihood
    per_image, terms, settings = _with_penalties(objective(draw, step), draw, model)
    loss = per_image / math.prod(model.image_shape) - likelihood.constant
    own_terms = joined(draw.own_terms, objective.own_terms(draw, step))
    for term in own_terms.values():
        loss = loss + (term.mean() - term.mean().detach())  # adds the gradient, not the value
    terms = joined(terms, {name: term.detach() for name, term in own_terms.items()})
    _check_shapes(objective, per_image, terms, len(x))
    with torch.no_grad():
        x_hat = likelihood.mean(draw.decoded())
        errors = pixel_errors(x, x_hat, likelihood.observed(x))
    losses = {"loss": loss.detach().expand(len(x))}
    return Loss(loss, joined(losses, terms, errors), settings)


def _with_penalties(loss: Loss, draw: Draw, model: LatentVariableModel) -> Loss:
    """The loss plus the model's own penalties, with the terms that the model reports."""
    if undeclared := sorted(draw.penalties.keys() - set(model.penalty_names)):
        kind = type(model).__name__
        raise ConfigError(
            f"model: {kind} adds {', '.join(undeclared)} to the loss without declaring it, and its "
            "losses would be compared with those of other models: set in the class "
            f"penalty_names = {(*model.penalty_names, *undeclared)}"
        )
    total, terms, settings = loss
    terms = joined(terms, draw.reported, draw.penalties)
    for penalty in draw.penalties.values():
        total = total + penalty.mean()
        if "target" in terms:
            terms["target"] = terms["target"] + penalty
    return Loss(total, terms, settings)


def _check_shapes(objective: Objective, loss: Tensor, terms: dict[str, Tensor], count: int) -> None:
    """Check that the loss of a batch of `count` images is a scalar, and each term `[count]`."""
    if loss.shape:
        raise ConfigError(
            f"model: the loss of {type(objective).__name__} has the shape {list(loss.shape)}, and "
            "should be a scalar: take its mean over images"
        )
    for name, term in terms.items():
        if term.shape != (count,):
            raise ConfigError(
                f"model: the term {name} has the shape {list(term.shape)}, and should have one "
                f"value per image, [{count}]: sum over pixels and dimensions, and expand values "
                "of the whole batch"
            )
