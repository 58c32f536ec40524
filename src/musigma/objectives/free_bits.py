"""Free bits: the rate of each dimension costs nothing below a floor."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from workbench.ranges import CHECKED, Count, Weight


@dataclass(frozen=True, config=CHECKED)
class FreeBits(Objective):
    """Minimises D + Σ_j max(λ, R_j), with R_j the rate of dimension j averaged over the batch.

    Kingma et al. 2016, equation 15. The reported `rate` is R.

    Args:
        floor: λ, in nats per dimension.
        samples: K, the draws of z for each image.
    """

    floor: Weight = 0.25
    samples: Count = 1
    depends_on_batch_size: ClassVar[bool] = True

    def __call__(self, draw: Draw, step: int) -> Loss:
        """D averaged over the batch, plus Σ_j max(λ, R_j)."""
        terms = common_terms(draw)
        floored = draw.rate_per_dimension().mean(0).clamp(min=self.floor).sum()
        return Loss(terms["distortion"].mean() + floored, terms, {})
