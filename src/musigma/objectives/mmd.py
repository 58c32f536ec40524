"""MMD: a penalty on the distance of the aggregate posterior q(z) from the prior."""

import functools
import logging
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from workbench.errors import ConfigError
from workbench.meaning import Meaning
from workbench.ranges import CHECKED, Count, Finite, Positive

log = logging.getLogger(__name__)


@dataclass(frozen=True, config=CHECKED)
class MMD(Objective):
    """Minimises D + (1 − α)·R + (α + λ − 1)·MMD²(q(z) ‖ N(0, I)).

    InfoVAE with an MMD: Zhao, Song and Ermon 2019. With α = 1 the rate has no weight: that is the
    MMD-VAE, and with a point posterior the WAE-MMD (Tolstikhin et al. 2018, algorithm 2). MMD²
    has no unit and is far below 1, hence a large λ.

    Args:
        alpha: α, at most 1; 1 − α is the weight of the rate.
        weight: λ.
        squared_width: h² of the kernel exp(−|x − y|² / 2h²), as a multiple of d.
        samples: K, the draws of z for each image.
    """

    alpha: Annotated[Finite, Field(le=1)] = 1.0
    weight: Finite = 1000.0
    squared_width: Positive = 1.0
    samples: Count = 1
    meanings: ClassVar[Mapping[str, Meaning]] = {"mmd": Meaning("MMD², without a unit")}

    def __post_init__(self) -> None:
        if not self.alpha + self.weight >= 1:
            raise ValueError(f"alpha + weight must be at least 1, got {self.alpha + self.weight}")

    @property
    def needs_rate(self) -> bool:
        """True if the rate has a weight."""
        return self.alpha < 1

    @property
    def uses_prior(self) -> bool:
        """True if the rate or the MMD has a weight."""
        return self.needs_rate or self.alpha + self.weight > 1

    def __call__(self, draw: Draw, step: int) -> Loss:
        """The three terms, averaged over the batch.

        Raises:
            ConfigError: if the prior is not N(0, I).
        """
        if not draw.prior.is_standard_normal:
            raise ConfigError(
                f"MMD compares codes with N(0, I), and the prior is {type(draw.prior).__name__}: "
                "use prior=standard_normal, or another objective"
            )
        terms = common_terms(draw)
        _, count, d = draw.z.shape
        if count == 1:
            _warn_of_one_image()
        # For each k alone: the K draws of an image are not independent of one another.
        estimates = [mmd_to_standard_normal(z, self.squared_width * d) for z in draw.z]
        discrepancy = torch.stack(estimates).mean()
        loss = terms["distortion"].mean() + (self.alpha + self.weight - 1) * discrepancy
        if self.needs_rate:
            loss = loss + (1 - self.alpha) * terms["rate"].mean()
        terms["mmd"] = discrepancy.expand(count)
        return Loss(loss, terms, {})


@functools.cache
def _warn_of_one_image() -> None:
    """Say once why the mean of an epoch is missing, such as that of a DataLoader's last batch."""
    log.warning(
        "a batch has a single image: MMD compares the images of a batch, so loss and mmd of the\n"
        "epoch cannot be measured. Set another batch size, or drop_last=True in a DataLoader"
    )


def mmd_to_standard_normal(z: Tensor, squared_width: float) -> Tensor:
    """Squared maximum mean discrepancy between draws and N(0, I), a scalar without unit.

    MMD² = mean_{i≠j} k(z_i, z_j) − 2 mean_i E_y k(z_i, y) + E k(x, y), an unbiased estimate
    (Gretton et al. 2012, equation 3). With k(x, y) = exp(−|x − y|² / 2h²) the expectations over
    N(0, I) have closed forms (Rustamov 2021).

    Args:
        z: independent draws, `[B, d]`, B at least 2.
        squared_width: h².
    """
    count, d = z.shape
    kernel = torch.exp(-torch.cdist(z, z).square() / (2 * squared_width))
    codes_codes = (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
    codes_prior = torch.exp(-z.square().sum(1) / (2 * (squared_width + 1))).mean()
    first = (squared_width / (squared_width + 1)) ** (d / 2)
    second = (squared_width / (squared_width + 2)) ** (d / 2)
    return codes_codes - 2 * first * codes_prior + second
