"""β-TCVAE: the rate, split into three terms with a weight each."""

import math
from collections.abc import Mapping
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from musigma.objectives.schedules import Constant, ScheduledWeight
from workbench.ranges import CHECKED, Count, Weight

TERMS = ("mutual_information", "total_correlation", "dimension_wise_rate")


@dataclass(frozen=True, config=CHECKED)
class TCVAE(Objective):
    """Minimises D + α·MI + β·TC + γ·DW; at weights of 1 that is −ELBO, with R estimated from z.

    MI = E log q(z|x)/q(z), the index-code mutual information; TC = E log q(z)/Π_j q(z_j), the
    total correlation; DW = E log Π_j q(z_j)/p(z), the dimension-wise rate. q(z) is estimated from
    the batch by minibatch-weighted sampling: Chen et al. 2018, equations 2 and 4. The estimate
    depends on the batch size, so the three terms compare only between equal batch sizes.

    Args:
        beta: β, the weight of the total correlation, or a schedule of it.
        alpha: α, the weight of the mutual information.
        gamma: γ, the weight of the dimension-wise rate.
        samples: K, the draws of z for each image.
    """

    beta: ScheduledWeight = Constant(6.0)
    alpha: Weight = 1.0
    gamma: Weight = 1.0
    samples: Count = 1
    estimators: ClassVar[Mapping[str, str]] = dict.fromkeys(TERMS, "minibatch-weighted sampling")

    @property
    def uses_prior(self) -> bool:
        """True if the dimension-wise rate, the only term with the prior, has a weight."""
        return self.gamma > 0

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D + α·MI + β·TC + γ·DW, averaged over the batch."""
        beta = self.beta(step)
        information, correlation, dimension_wise = decompose(draw)
        terms = common_terms(draw)
        without_tc = terms["distortion"] + self.alpha * information + self.gamma * dimension_wise
        if self.monitor == "target":
            terms["target"] = without_tc + self.beta.end * correlation
        terms |= dict(zip(TERMS, (information, correlation, dimension_wise), strict=True))
        return Loss((without_tc + beta * correlation).mean(), terms, {"beta": beta})


def decompose(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """MI, TC and DW of each image, `[B]` each, in nats; they sum to log q(z|x) − log p(z)."""
    z, posterior = draw.z, draw.posterior
    # [K, B, B, d]: every draw under the posterior of every image of the batch.
    log_q = posterior.log_prob_per_dimension(z.unsqueeze(2))
    log_count = math.log(z.shape[1] * draw.known_dataset_size())
    log_qz = log_q.sum(-1).logsumexp(2) - log_count
    log_qz_product = (log_q.logsumexp(2) - log_count).sum(-1)
    log_qz_given_x = posterior.log_prob(z)
    information = (log_qz_given_x - log_qz).mean(0)
    correlation = (log_qz - log_qz_product).mean(0)
    dimension_wise = (log_qz_product - draw.log_prior).mean(0)
    return information, correlation, dimension_wise
