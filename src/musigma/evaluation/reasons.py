"""The reasons why log p(x) may be undefined or meaningless for a model."""

import torch
from torch import Tensor

from musigma.models import LatentVariableModel
from musigma.objectives import Objective


def why_no_log_p(model: LatentVariableModel, objective: Objective) -> str | None:
    """Why log ∫ p(x|z) p(z) dz is meaningless for this model; None if it is meaningful."""
    if not model.likelihood.is_density:
        return (
            "its likelihood is cross-entropy of grey levels, which is not a density: train on "
            "binarised pixels, or with the continuous_bernoulli likelihood"
        )
    if not objective.uses_prior:
        return (
            "it was trained without a rate, so nothing ties its codes to the prior that "
            "log p(x) integrates over: train with model=vae, for example"
        )
    return None


def why_no_importance_weights(model: LatentVariableModel, objective: Objective) -> str | None:
    """Why q(z|x) cannot be the proposal of importance weights; None if it can."""
    if not model.has_density:
        return "its posterior is a point, and importance weights divide by its density"
    if model.is_deterministic:
        return "its codes are deterministic, so all importance weights would be equal"
    if not model.prior.has_density:
        return "its prior has a bound of the rate and no density, which importance weights need"
    return why_no_log_p(model, objective)


@torch.no_grad()
def draws_from_decoder(model: LatentVariableModel, x: Tensor, noise: Tensor) -> bool:
    """True if log p(x|z) of a model's draws is that of its decoder and likelihood at these codes.

    It is not if only some of the pixels count, or if the decoder gets more than z, as with skip
    connections from the encoder.

    Args:
        model: in evaluation mode, conditioned on the images.
        x: images, `[B, C, H, W]`.
        noise: standard normal, `[K, B, n]`.
    """
    draw = model.draw(x, noise)
    # In the reverse order, so that what a decoder keeps of the images that were encoded last shows.
    output = model.decode(draw.z.flip(1)).flip(1)
    expected = model.likelihood.log_prob(x, output)
    return torch.allclose(draw.log_likelihood, expected, rtol=1e-4, atol=1e-2)
