"""The reasons why log p(x) may mean nothing for a model."""

from musigma.models import LatentVariableModel
from musigma.objectives import Objective


def why_no_log_p(model: LatentVariableModel, objective: Objective) -> str | None:
    """The reason why log ∫ p(x|z) p(z) dz means nothing for this model; None if it does."""
    if not model.likelihood.is_density:
        return (
            "its likelihood is cross-entropy of grey levels, which is not a density: train on "
            "binarised pixels, or with the continuous_bernoulli likelihood"
        )
    if not objective.uses_prior:
        return (
            "it was trained without a rate, so nothing holds its codes to the prior that "
            "log p(x) integrates over: train with model=vae, for example"
        )
    return None


def why_no_importance_weights(model: LatentVariableModel, objective: Objective) -> str | None:
    """The reason why q(z|x) cannot be the proposal of importance weights; None if it can."""
    if not model.has_density:
        return "its posterior is a point, and importance weights divide by its density"
    if model.is_deterministic:
        return "its codes are chosen and not drawn, so that all weights would be the same"
    return why_no_log_p(model, objective)
