"""Priors p(z)."""

from musigma.models.priors.prior import Prior, PriorRecipe
from musigma.models.priors.standard_normal import StandardNormal

__all__ = ["Prior", "PriorRecipe", "StandardNormal"]
