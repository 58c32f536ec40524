"""RAE: a deterministic autoencoder with regularised codes and decoder."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from workbench.meaning import Meaning
from workbench.ranges import Count, Weight, checked


class RAE(nn.Module, Objective):
    """Minimises D + β·½‖z‖² + λ·‖θ‖², θ the decoder's weights (Ghosh et al. 2020, equation 11).

    The regulariser of the decoder is the paper's L2. Samples are drawn from a density that is
    fitted to the codes after training.

    Args:
        beta: β, the weight of half the codes' squared norm.
        decay: λ, the weight of the squared norm of the decoder's weights.
        samples: K, the draws of z for each image; one is enough for points.
    """

    samples: int = 1
    needs_rate: ClassVar[bool] = False
    uses_prior: ClassVar[bool] = False
    fits_prior: ClassVar[bool] = True
    meanings: ClassVar[Mapping[str, Meaning]] = {
        "squared_norm": Meaning("‖z‖², without a unit", better="neither")
    }

    @checked
    def __init__(self, beta: Weight = 1e-2, decay: Weight = 1e-4, samples: Count = 1) -> None:
        super().__init__()
        self.beta, self.decay, self.samples = beta, decay, samples
        self._decoder: tuple[nn.Module, ...] = ()

    def bind(self, model: Any) -> None:
        """Keep the decoder, in a tuple, so that it does not become a submodule."""
        self._decoder = (model.decoder,)

    def forward(self, draw: Draw, step: int) -> Loss:
        """The three terms, averaged over the batch."""
        terms = common_terms(draw)
        terms.pop("elbo", None)
        terms["squared_norm"] = draw.z.square().sum(-1).mean(0)
        loss = terms["distortion"] + 0.5 * self.beta * terms["squared_norm"]
        (decoder,) = self._decoder
        squared_weights = torch.stack([p.square().sum() for p in decoder.parameters()]).sum()
        return Loss(loss.mean() + self.decay * squared_weights, terms, {})
