"""Likelihoods p(x|z): densities over whole images, in nats, with their constants."""

from musigma.objectives.likelihoods.bernoulli import Bernoulli
from musigma.objectives.likelihoods.continuous_bernoulli import ContinuousBernoulli
from musigma.objectives.likelihoods.gaussian import Gaussian
from musigma.objectives.likelihoods.laplace import Laplace
from musigma.objectives.likelihoods.likelihood import Likelihood, Pixels

__all__ = ["Bernoulli", "ContinuousBernoulli", "Gaussian", "Laplace", "Likelihood", "Pixels"]
