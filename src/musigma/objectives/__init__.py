"""Objectives, likelihoods and divergences: pure functions of tensors, in nats per image."""

from musigma.objectives.capacity import Capacity
from musigma.objectives.draw import Draw
from musigma.objectives.elbo import ELBO
from musigma.objectives.free_bits import FreeBits
from musigma.objectives.iwae import IWAE
from musigma.objectives.mmd import MMD
from musigma.objectives.objective import Loss, Objective
from musigma.objectives.reconstruction import Reconstruction
from musigma.objectives.tcvae import TCVAE

__all__ = [
    "ELBO",
    "IWAE",
    "MMD",
    "TCVAE",
    "Capacity",
    "Draw",
    "FreeBits",
    "Loss",
    "Objective",
    "Reconstruction",
]
