"""FactorVAE: a penalty on the total correlation of q(z), estimated by a discriminator."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Adam

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from musigma.seeding import FIXED_SEED
from musigma.words import NATS
from workbench.meaning import Meaning
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.ranges import Count, Weight, checked

discriminator_adam = functools.partial(Adam, lr=1e-4, betas=(0.5, 0.9))
"""The discriminator's optimizer in the paper."""


class FactorVAE(nn.Module, Objective):
    """Minimises D + R + γ·TC, with TC = KL(q(z) ‖ Π_j q(z_j)) (Kim and Mnih 2018, equation 2).

    TC is estimated as the mean of log C(z) / (1 − C(z)) over draws of z (equation 3), where a
    discriminator C learns to tell draws from draws whose dimensions were permuted over the batch
    (algorithm 1); both are of one batch, not of two as in algorithm 2. The estimate is exact for
    the best C; that of a C in training compares with no other estimate.

    Args:
        gamma: γ, the weight of the total correlation.
        sizes: widths of the discriminator's hidden layers.
        optimizer: the discriminator's recipe: parameters → optimizer.
        samples: K, the draws of z for each image.
    """

    samples: int = 1
    monitor: ClassVar[str] = "loss"  # with the TC estimate of the same step
    estimators: ClassVar[Mapping[str, str]] = {"total_correlation": "a discriminator's estimate"}
    meanings: ClassVar[Mapping[str, Meaning]] = {
        "discriminator_loss": Meaning(NATS, better="neither")
    }

    @checked
    def __init__(
        self,
        gamma: Weight = 10.0,
        sizes: Sequence[Count] = (1000, 1000, 1000, 1000, 1000),
        optimizer: OptimizerRecipe = discriminator_adam,
        samples: Count = 1,
    ) -> None:
        super().__init__()
        self.gamma, self.sizes, self.optimizer = gamma, tuple(sizes), optimizer
        self.samples = samples
        self.discriminator = nn.Sequential()

    def bind(self, model: Any) -> None:
        """Build the discriminator: codes `[..., d]` → log C / (1 − C), `[..., 1]`."""
        widths = [model.latent_dim, *self.sizes]
        layers = [
            layer
            for inputs, outputs in itertools.pairwise(widths)
            for layer in (nn.Linear(inputs, outputs), nn.LeakyReLU(0.2))
        ]
        self.discriminator = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        return {"discriminator": self.optimizer}

    def forward(self, draw: Draw, step: int) -> Loss:
        """D + R + γ·TC, averaged over the batch, without gradients of the discriminator."""
        terms = common_terms(draw)
        fixed = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        logits = functional_call(self.discriminator, fixed, (draw.z,)).squeeze(-1)
        terms["total_correlation"] = logits.to(draw.z).mean(0)  # 16 bits under mixed precision
        whole = terms["distortion"] + terms["rate"] + self.gamma * terms["total_correlation"]
        return Loss(whole.mean(), terms, {})

    def own_terms(self, draw: Draw, step: int) -> dict[str, Tensor]:
        """The discriminator's cross-entropy on draws and permuted draws, in nats."""
        z = draw.z.detach()
        joint, permuted = (self.discriminator(codes).to(z) for codes in (z, self._permuted(z)))
        losses = 0.5 * (F.softplus(-joint) + F.softplus(permuted))
        return {"discriminator_loss": losses.squeeze(-1).mean(0)}

    def _permuted(self, z: Tensor) -> Tensor:
        """`z` `[K, B, d]` with each dimension permuted over the batch; fixed in evaluation."""
        _, count, d = z.shape
        if self.training:
            keys = torch.rand(d, count, device=z.device)
        else:
            generator = torch.Generator().manual_seed(FIXED_SEED)
            keys = torch.rand(d, count, generator=generator).to(z.device)
        return z.gather(1, keys.argsort(1).T.expand_as(z))
