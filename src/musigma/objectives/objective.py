"""The base class of objectives, and their result."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from musigma.objectives.draw import Draw
from musigma.objectives.schedules import Constant, Schedule
from workbench.errors import ConfigError
from workbench.meaning import Meaning
from workbench.optimizers.parameter_groups import OptimizerRecipe


class Loss(NamedTuple):
    """The loss of a batch, with terms and settings to report.

    Args:
        loss: a scalar in nats per image.
        terms: name → the values of each image, `[B]`, nats per image.
        settings: name → the value of a setting at this step, β for example.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    settings: dict[str, float]


@runtime_checkable
class Objective(Protocol):
    """An objective to minimise, with its settings as attributes; it may also be an `nn.Module`.

    A subclass defines `__call__` and overrides the properties whose defaults do not hold.
    """

    samples: int = 1
    """K, the number of draws of z for each image."""

    @property
    def needs_rate(self) -> bool:
        """True if the posterior must have a density, and so a rate."""
        return True

    @property
    def needs_gradient_of_z(self) -> bool:
        """True if the encoder is trained through z; False for score-function estimators."""
        return True

    @property
    def uses_prior(self) -> bool:
        """True if the loss pulls codes towards the prior, so that log p(x) is meaningful."""
        return True

    @property
    def estimators(self) -> Mapping[str, str]:
        """Name of a term → its estimator in words; values compare only if this is the same."""
        return {}

    @property
    def depends_on_batch_size(self) -> bool:
        """True if the loss is no mean over images: it compares only between equal batch sizes."""
        return bool(self.estimators)

    @property
    def meanings(self) -> Mapping[str, Meaning]:
        """Units and directions of its own terms that are not costs in nats per image."""
        return {}

    @property
    def fits_prior(self) -> bool:
        """True if a density is to be fitted to the codes after training, to sample from."""
        return False

    @property
    def monitor(self) -> str:
        """The metric that selects the best checkpoint; less is better.

        It is `loss` or, if a weight follows a schedule, `target`: the loss with the final weight,
        which unlike `loss` compares between steps. An objective that learns must override it.
        """
        weights = [value for value in vars(self).values() if isinstance(value, Schedule)]
        return "loss" if all(isinstance(weight, Constant) for weight in weights) else "target"

    @property
    def has_hooks(self) -> bool:
        """True if tensor hooks change its gradient, which torch.compile loses at graph breaks."""
        return False

    def bind(self, model: Any) -> None:
        """Create weights that depend on the model, such as on `model.latent_dim`; none here."""
        return None

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        """Name of a part that is trained on `own_terms` → its optimizer's recipe; none here."""
        return {}

    def own_terms(self, draw: Draw, step: int) -> dict[str, Tensor]:
        """Name → a term that a learner minimises, `[B]`, such as a discriminator's loss.

        Own terms are reported, and not a part of the loss. The gradient of each must reach one
        learner and nothing else: detach the codes here, and the learners' weights in the loss.
        """
        return {}

    @abstractmethod
    def __call__(self, draw: Draw, step: int) -> Loss:
        """The loss of a batch at optimizer step `step`."""


def learns(objective: Objective) -> bool:
    """True if an objective has trainable weights or other state that changes in training."""
    if not isinstance(objective, nn.Module):
        return False
    frozen = {name for name, weight in objective.named_parameters() if not weight.requires_grad}
    return bool(objective.state_dict().keys() - frozen)


def common_terms(draw: Draw) -> dict[str, Tensor]:
    """The terms of every objective, `[B]` each: the distortion, and the rate if there is one.

    `elbo` is −(D + R), a bound on log p(x) whatever is minimised.
    """
    terms = {"distortion": draw.distortion()}
    if draw.posterior.has_density:
        terms["rate"] = draw.rate()
        terms["elbo"] = -(terms["distortion"] + terms["rate"])
    return terms


def joined(*groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms of all groups, by name.

    Raises:
        ConfigError: if two terms have one name, as only one of them would be reported.
    """
    terms: dict[str, Tensor] = {}
    for group in groups:
        for name, term in group.items():
            if name in terms:
                raise ConfigError(f"model: two terms are called {name}; rename the one of your own")
            terms[name] = term
    return terms
