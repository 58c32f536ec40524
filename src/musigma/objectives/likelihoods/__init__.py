"""Likelihoods p(x|z): densities over whole images, in nats, with their constants."""

from musigma.objectives.likelihoods.laplace import Laplace
from musigma.objectives.likelihoods.likelihood import Likelihood, Pixels

__all__ = ["Laplace", "Likelihood", "Pixels"]
