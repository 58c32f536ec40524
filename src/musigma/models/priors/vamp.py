"""The VampPrior: a mixture of the posteriors of learned pseudo-inputs."""

import math

import torch
from torch import Tensor, nn

from musigma.models.model import LatentVariableModel
from musigma.models.priors.prior import Prior
from musigma.objectives.draw import Posterior
from workbench.ranges import Count, Positive, checked

DARKEST = 0.02
"""Pixels in [0, 1] begin at least so far from both ends, where a sigmoid hardly moves."""

AT_ONCE = 2**24
"""Numbers of codes that are compared with all components at once."""


class Vamp(Prior):
    """(1/K) Σ_k q(z|u_k), with the model's own encoder and K pseudo-inputs that are trained.

    Tomczak and Welling 2018, equation 9. Where the likelihood's pixels lie in [0, 1] a pseudo-input
    is a sigmoid, elsewhere any image. They begin around the mean of the training images, which the
    data modules of this project know (of streamed images it takes a pass over them), and with other
    loaders around 0.

    Args:
        model: whose codes these are, with a posterior that has a density.
        components: K.
        spread: the standard deviation of the first pseudo-inputs, in pixels, or before the sigmoid.

    Raises:
        ValueError: if the posteriors are points, or the encoder is told more than the image.
    """

    starts_at_mean_image = True
    center: Tensor

    @checked
    def __init__(
        self, model: LatentVariableModel, *, components: Count = 500, spread: Positive = 0.5
    ) -> None:
        super().__init__()
        if not model.has_density:
            raise ValueError(
                "a VampPrior is a mixture of posteriors, and a point has no density: take "
                "posterior=normal, or another prior"
            )
        if model.told:
            raise ValueError(
                "a VampPrior encodes pseudo-inputs, and this model's encoder is told "
                f"{', '.join(model.told)} too, which they do not have: take another prior"
            )
        self.code_space = model.code_space
        self._model = (model,)  # in a tuple, so that it is not a part of its own part
        self.is_squashed = "real" not in model.likelihood.pixels
        self.register_buffer("center", torch.zeros(model.image_shape))
        self.offsets = nn.Parameter(spread * torch.randn(components, *model.image_shape))

    @torch.no_grad()
    def start_at(self, mean_image: Tensor) -> None:
        """Move the pseudo-inputs there, once: from then on a checkpoint holds where they began."""
        if not self.center.any():
            if self.is_squashed:
                mean_image = mean_image.clamp(DARKEST, 1 - DARKEST).logit()
            self.center.copy_(mean_image)

    def pseudo_inputs(self) -> Tensor:
        """u, `[K, C, H, W]`, in the model's pixels."""
        u = self.center + self.offsets
        return u.sigmoid() if self.is_squashed else u

    def components(self) -> Posterior:
        """q(z|u_k) of all K."""
        return self._model[0].encode(self.pseudo_inputs())

    def log_prob(self, z: Tensor) -> Tensor:
        components, count = self.components(), len(self.offsets)
        codes = z.reshape(-1, 1, z.shape[-1])
        log_q = [
            components.log_prob(rows.expand(-1, count, -1)).logsumexp(1)
            for rows in codes.split(max(1, AT_ONCE // (count * z.shape[-1])))
        ]
        return (torch.cat(log_q) - math.log(count)).reshape(z.shape[:-1])

    @torch.no_grad()
    def sample(self, count: int, *, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        size = len(self.offsets)
        chosen = torch.randint(size, (count,), generator=generator)
        # One draw of every component is row after row; the n-th of a component is in row n.
        row = nn.functional.one_hot(chosen, size).cumsum(0)[torch.arange(count), chosen] - 1
        shape = (int(row.max()) + 1, size, self._model[0].noise_dim)
        noise = torch.randn(shape, generator=generator).to(self.offsets)
        return self.components().rsample(noise).cpu().float()[row, chosen]
