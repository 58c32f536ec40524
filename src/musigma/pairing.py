"""What a model, an objective and data need of one another."""

import logging
from collections.abc import Collection

from torch import Tensor

from musigma.data import ImageDataModule
from musigma.models import LatentVariableModel
from musigma.objectives import Draw, Objective
from musigma.objectives.objective import learns
from workbench.errors import ConfigError

log = logging.getLogger(__name__)


def pair(model: LatentVariableModel, objective: Objective) -> None:
    """Bind an objective to the model that it is to train.

    Raises:
        ValueError: if the objective needs a rate and the model's posterior is a point, the prior
            is learned and the objective does not use it, posterior and prior are densities on
            different sets, or the objective learns and does not say its `monitor`.
    """
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


def start_at_mean_image(
    model: LatentVariableModel, data: ImageDataModule | None, taken: Collection[str]
) -> None:
    """Start decoder and prior at the mean training image, if they want to.

    Args:
        model: is to be trained.
        data: have been read; None if they are not this project's.
        taken: the names of weights that are another run's, whose parts stay as they are.
    """

    def is_new(part: str) -> bool:
        return not any(name.startswith(f"model.{part}.") for name in taken)

    starts = []
    if model.center_output and is_new("decoder"):
        starts.append(model.start_at)
    if model.prior.starts_at_mean_image and is_new("prior"):
        starts.append(model.prior.start_at)
    if starts and data:
        mean_image = data.mean_image()
        for start_at in starts:
            start_at(mean_image)
    elif starts and model.center_output:
        log.warning(
            "center_output is left out: the mean image of these data is not known; call "
            "module.model.start_at(mean_image) before training"
        )


def check_penalties(model: LatentVariableModel, draw: Draw) -> None:
    """Check that the model's class names all that a draw adds to the loss.

    Raises:
        ConfigError: if it does not.
    """
    if undeclared := sorted(draw.penalties.keys() - set(model.pays)):
        kind = type(model).__name__
        raise ConfigError(
            f"model: {kind} adds {', '.join(undeclared)} to the loss, so that its losses "
            f"compare with no others: say in the class pays = {(*model.pays, *undeclared)}"
        )


def check_shapes(objective: Objective, loss: Tensor, terms: dict[str, Tensor], count: int) -> None:
    """Check that a batch of `count` images has one loss, and a value of each term for each image.

    Raises:
        ConfigError: if it has not.
    """
    if loss.shape:
        raise ConfigError(
            f"model: the loss of {type(objective).__name__} has the shape "
            f"{list(loss.shape)}, and should be one number: take its mean over images"
        )
    for name, term in terms.items():
        if term.shape != (count,):
            raise ConfigError(
                f"model: the term {name} has the shape {list(term.shape)}, and should have a "
                f"value for each image, [{count}]: sum over pixels and dimensions, and "
                "expand what is one number for the whole batch"
            )
