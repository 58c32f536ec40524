"""Check that model, objective and data fit together, and connect them."""

import logging
from collections.abc import Collection

from torch import nn

from musigma.data import ImageDataModule
from musigma.models import LatentVariableModel
from musigma.objectives import Objective
from musigma.objectives.objective import learns

log = logging.getLogger(__name__)


def pair(model: LatentVariableModel, objective: Objective) -> None:
    """Check that an objective can train a model, and bind it to the model.

    Raises:
        ValueError: if the objective needs a rate and the posterior is a point, the prior is learned
            and the objective does not use it, the model is conditioned on more than labels,
            posterior and prior have different supports, prior
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
    if others := sorted(model.conditioned_on - {"y"}):
        raise ValueError(
            f"conditioned_on of {type(model).__name__} names {', '.join(others)}, and evaluation "
            'can condition a model on labels only: leave out all but "y", and name in evidence '
            "what the ELBO is conditioned on"
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

    `taken` are the names of weights from another run, whose parts are left unchanged. `data` have
    been read; None if they are not an `ImageDataModule`.
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
