"""Models as plain `nn.Module`s; a notebook can use them without Lightning or Hydra."""

from musigma.models.autoencoder import Autoencoder
from musigma.models.conv import Conv
from musigma.models.mlp import MLP
from musigma.models.model import LatentVariableModel
from musigma.models.network import Network
from musigma.models.posteriors import NormalPosterior, PointPosterior
from musigma.objectives.draw import Posterior

__all__ = [
    "MLP",
    "Autoencoder",
    "Conv",
    "LatentVariableModel",
    "Network",
    "NormalPosterior",
    "PointPosterior",
    "Posterior",
]
