"""The base class of all objectives, and their results."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from musigma.objectives.draw import Draw
from musigma.objectives.schedules import Constant, Schedule
from workbench.meaning import Meaning
from workbench.parameter_groups import OptimizerRecipe


class Loss(NamedTuple):
    """The loss of a batch, and what to report of it.

    Args:
        loss: a scalar in nats per image.
        terms: of each image, name → `[B]`, nats per image.
        settings: of the objective itself at this step, β for example.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    settings: dict[str, float]


@runtime_checkable
class Objective(Protocol):
    """An objective to minimise: an object whose attributes are its settings, or an `nn.Module`.

    Subclasses override the defaults that are not true of them.
    """

    @property
    def samples(self) -> int:
        """K, the number of draws of z for each image."""
        return 1

    @property
    def needs_rate(self) -> bool:
        """True if the posterior must have a density, and so a rate."""
        return True

    @property
    def uses_prior(self) -> bool:
        """True if codes are held to the prior, so that log p(x) means something."""
        return True

    @property
    def estimators(self) -> Mapping[str, str]:
        """The estimators, in words, of terms that other objectives estimate in other ways."""
        return {}

    @property
    def depends_on_batch_size(self) -> bool:
        """True if the loss is not a mean over images alone: it compares in batches of one size."""
        return bool(self.estimators)

    @property
    def meanings(self) -> Mapping[str, Meaning]:
        """Units and directions of its own terms, if they are no costs in nats per image."""
        return {}

    @property
    def fits_prior(self) -> bool:
        """True if a density is meant to be fitted to the codes after training."""
        return False

    @property
    def monitor(self) -> str:
        """The metric, less being better, that tells which of two checkpoints is better.

        `loss`; or where a weight changes `target`, the loss with the last value of its schedule,
        which unlike the loss itself compares between steps. One that learns has to say it.
        """
        weights = [value for value in vars(self).values() if isinstance(value, Schedule)]
        return "loss" if all(isinstance(weight, Constant) for weight in weights) else "target"

    @property
    def has_hooks(self) -> bool:
        """True if hooks of tensors change its gradient: torch.compile loses them between graphs."""
        return False

    def bind(self, model: Any) -> None:
        """Make weights of its own that depend on the model, `model.latent_dim` say; none here."""
        return None

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        """The parts that are trained on `own_terms`, with their optimizers; none here."""
        return {}

    def own_terms(self, draw: Draw, step: int) -> dict[str, Tensor]:
        """Terms that its learners minimise, by name, `[B]` each: a discriminator's loss, say.

        They are reported, and no part of the loss. The gradient of each reaches one learner and
        nothing else, and that of the loss none: detach the codes here, and their weights there.
        """
        return {}

    @abstractmethod
    def __call__(self, draw: Draw, step: int) -> Loss:
        """The loss at optimizer step `step`."""


def learns(objective: Objective) -> bool:
    """True if it has weights or other state of its own, so that it changes in training."""
    if not isinstance(objective, nn.Module):
        return False
    frozen = {name for name, one in objective.named_parameters() if not one.requires_grad}
    return bool(objective.state_dict().keys() - frozen)


def common_terms(draw: Draw) -> dict[str, Tensor]:
    """Terms of every objective, `[B]` each: the distortion, and the rate if there is one.

    `elbo` is −(D + R), a bound on log p(x) whatever is being minimised.
    """
    terms = {"distortion": draw.distortion()}
    if draw.posterior.has_density:
        terms["rate"] = draw.rate()
        terms["elbo"] = -(terms["distortion"] + terms["rate"])
    return terms


def with_penalties(loss: Loss, draw: Draw) -> Loss:
    """The loss with what the model itself adds to it and reports."""
    if not draw.penalties and not draw.reported:
        return loss
    terms = {**loss.terms, **draw.reported, **draw.penalties}
    whole = loss.loss
    for penalty in draw.penalties.values():
        whole = whole + penalty.mean()
        if "target" in terms:
            terms["target"] = terms["target"] + penalty
    return Loss(whole, terms, loss.settings)
