"""What is minimised: pure functions of tensors, in nats per image."""

from musigma.objectives.elbo import ELBO
from musigma.objectives.objective import Draw, Loss, Objective
from musigma.objectives.reconstruction import Reconstruction

__all__ = ["ELBO", "Draw", "Loss", "Objective", "Reconstruction"]
