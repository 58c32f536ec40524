"""Estimators of log p(x), latent-space measures, probes: tensors in, numbers out."""

from musigma.evaluation.importance import ImportanceEstimate, importance_estimate
from musigma.evaluation.pareto import pareto_k
from musigma.evaluation.pixel_integral import pixel_integral
from musigma.evaluation.quadrature import QuadratureEstimate, quadrature_estimate
from musigma.evaluation.reasons import (
    draws_from_decoder,
    why_no_importance_weights,
    why_no_log_p,
)

__all__ = [
    "ImportanceEstimate",
    "QuadratureEstimate",
    "draws_from_decoder",
    "importance_estimate",
    "pareto_k",
    "pixel_integral",
    "quadrature_estimate",
    "why_no_importance_weights",
    "why_no_log_p",
]
