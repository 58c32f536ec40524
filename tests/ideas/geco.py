"""GECO: the rate under a bound of the distortion, with a multiplier that learns."""

import functools
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import SGD

from musigma.objectives import Draw, Loss, Objective
from musigma.objectives.objective import common_terms
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.ranges import Count, Finite, checked

slow_sgd = functools.partial(SGD, lr=1e-4)


class Multiplier(nn.Module):
    """λ ≥ 0, from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.log_value = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        return self.log_value.exp()


class GECO(nn.Module, Objective):
    """Minimises R + λ (D − goal), while λ ascends (Rezende and Viola 2018, algorithm 1).

    Args:
        goal: the distortion that is allowed, in nats per image.
        optimizer: of the multiplier.
        samples: K, the draws of z for each image.
    """

    samples: int = 1
    monitor: ClassVar[str] = "excess"

    @checked
    def __init__(
        self,
        goal: Finite = 780.0,
        optimizer: OptimizerRecipe = slow_sgd,
        samples: Count = 1,
    ) -> None:
        super().__init__()
        self.goal, self.optimizer, self.samples = goal, optimizer, samples
        self.multiplier = Multiplier()

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        return {"multiplier": self.optimizer}

    def forward(self, draw: Draw, step: int) -> Loss:
        terms = common_terms(draw)
        terms["excess"] = terms["distortion"] - self.goal
        loss = terms["rate"] + self.multiplier().detach() * terms["excess"]
        return Loss(loss.mean(), terms, {})

    def own_terms(self, draw: Draw, step: int) -> dict[str, Tensor]:
        return {"shortfall": -self.multiplier() * (draw.distortion() - self.goal).detach()}
