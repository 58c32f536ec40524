"""A learned normalizing flow as the prior."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musigma.models.model import LatentVariableModel
from musigma.models.precision import full_precision
from musigma.models.priors.prior import Prior
from musigma.seeding import normal_noise
from workbench.ranges import Count, checked


class Flow(Prior):
    """N(f(z); 0, I) |det ∂f/∂z| with a neural spline flow f that is trained with the model.

    Rational-quadratic splines (Durkan et al. 2019) in coupling layers, each of which transforms
    one half of the dimensions unconditionally and the other half given the first; with one
    dimension every layer is an unconditional spline. Splines act on [−5, 5]. f starts as the
    identity, so that training starts with N(0, I).

    Args:
        model: the model whose codes these are.
        transforms: the number of coupling layers.
        hidden_sizes: widths of the hidden layers in the network of each coupling layer.
        bins: pieces of each spline.

    Raises:
        ImportError: if Zuko is not installed.
    """

    @checked
    def __init__(
        self,
        model: LatentVariableModel,
        *,
        transforms: Count = 4,
        hidden_sizes: Annotated[Sequence[Count], Field(min_length=1)] = (64, 64),
        bins: Annotated[int, Field(ge=2)] = 8,
    ) -> None:
        super().__init__()
        try:
            from zuko.flows import NSF
        except ImportError as error:
            raise ImportError(
                "the flow prior needs the extra flows: pip install -e '.[flows]'"
            ) from error
        self.latent_dim = model.latent_dim
        self.flow: nn.Module = NSF(
            model.latent_dim,
            bins=bins,
            transforms=transforms,
            hidden_features=tuple(hidden_sizes),
            passes=2,
        )
        for layer in self.flow.transform.transforms:
            for parameter in getattr(layer, "hyper", [layer])[-1].parameters():
                nn.init.zeros_(parameter)

    def log_prob(self, z: Tensor) -> Tensor:
        with full_precision(z.device):
            log_p: Tensor = self.flow().log_prob(z)
        return log_p

    @torch.no_grad()
    def sample(self, count: int, *, seed: int) -> Tensor:
        noise = normal_noise(count, self.latent_dim, seed=seed).to(next(self.parameters()))
        z: Tensor = self.flow().transform.inv(noise)
        return z.cpu().float()
