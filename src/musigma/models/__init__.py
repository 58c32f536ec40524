"""Networks as plain `nn.Module`s; a notebook can use them without Lightning or Hydra."""

from musigma.models.autoencoder import Autoencoder
from musigma.models.conv import Conv
from musigma.models.mlp import MLP
from musigma.models.network import Network
from musigma.models.posterior import NormalPosterior, PointPosterior, Posterior

__all__ = [
    "MLP",
    "Autoencoder",
    "Conv",
    "Network",
    "NormalPosterior",
    "PointPosterior",
    "Posterior",
]
