"""Check that model, objective and data fit together, and connect them."""

import logging
from collections.abc import Collection

from torch import Tensor, nn

from musigma.data import ImageDataModule
from musigma.models import LatentVariableModel
from musigma.objectives import Draw, Objective
from musigma.objectives.objective import learns
from workbench.errors import ConfigError

log = logging.getLogger(__name__)


def pair(model: LatentVariableModel, objective: Objective) -> None:
    """Check that an objective can train a model, and bind it to the model.

    Raises:
        ValueError: if the objective needs a rate and the posterior is a point, the prior is learned
            and the objective does not use it, posterior and prior have different supports, prior
            or objective registers the model as a submodule, or the objective has weights or buffers
            of its own and its class does not set `monitor`.
    """
    if objective.needs_rate and not model.has_density:
        raise ValueError(
            f"the objective {type(objective).__name__} needs a rate, and a point posterior "
            "has none: choose posterior normal, or the objective reconstruction"
        )
    if not objective.uses_prior and any(True for _ in model.prior.parameters()):
        raise ValueError(
            f"the prior {type(model.prior).__name__} is learned, and the objective "
            f"{type(objective).__name__} does not use it, so nothing would train it: "
            "choose prior standard_normal, or an objective with a rate, such as elbo"
        )
    if model.has_density and model.code_space != model.prior.code_space:
        raise ValueError(
            f"the prior {type(model.prior).__name__} is a density on {model.prior.code_space}, "
            f"and the posterior one on {model.code_space}: choose two on the same space"
        )
    objective.bind(model)
    for part in (model.prior, objective):
        if isinstance(part, nn.Module) and model in part.modules():
            raise ValueError(
                f"{type(part).__name__} registers the model as a submodule, so that its weights "
                "would be there twice: keep only what is needed of it, or the model in a tuple"
            )
    if learns(objective) and type(objective).monitor is Objective.monitor:
        raise ValueError(
            f"the objective {type(objective).__name__} changes as it learns, so that its losses "
            "at different steps are not comparable: set `monitor` in the class to the term by "
            "which checkpoints are compared, lower being better (register buffers that never "
            "change with persistent=False)"
        )


def start_at_mean_image(
    model: LatentVariableModel, data: ImageDataModule | None, taken: Collection[str]
) -> None:
    """Initialise decoder and prior with the mean training image, if they ask for it.

    Args:
        model: the model.
        data: the data, which have been read; None if they are not an `ImageDataModule`.
        taken: the names of weights taken from another run, whose parts are left unchanged.
    """

    def is_new(part: str) -> bool:
        return not any(name.startswith(f"model.{part}.") for name in taken)

    initializers = []
    if model.center_output and is_new("decoder"):
        initializers.append(model.start_at)
    if model.prior.starts_at_mean_image and is_new("prior"):
        initializers.append(model.prior.start_at)
    if initializers and data:
        mean_image = data.mean_image()
        for start_at in initializers:
            start_at(mean_image)
    elif initializers and model.center_output:
        log.warning(
            "center_output has no effect: the mean image of these data is unknown; call "
            "module.model.start_at(mean_image) before training"
        )


def check_penalties(model: LatentVariableModel, draw: Draw) -> None:
    """Check that the model's class declares all penalties that a draw adds to the loss.

    Raises:
        ConfigError: if it does not.
    """
    if undeclared := sorted(draw.penalties.keys() - set(model.penalty_names)):
        kind = type(model).__name__
        raise ConfigError(
            f"model: {kind} adds {', '.join(undeclared)} to the loss without declaring it, and its "
            "losses would be compared with those of other models: set in the class "
            f"penalty_names = {(*model.penalty_names, *undeclared)}"
        )


def check_shapes(objective: Objective, loss: Tensor, terms: dict[str, Tensor], count: int) -> None:
    """Check that the loss of a batch of `count` images is a scalar, and each term `[count]`.

    Raises:
        ConfigError: if they have other shapes.
    """
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
