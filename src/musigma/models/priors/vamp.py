"""The VampPrior: a mixture of the posteriors of learned pseudo-inputs."""

import math

import torch
from torch import Tensor, nn

from musigma.models.model import LatentVariableModel
from musigma.models.priors.prior import Prior
from musigma.objectives.draw import Posterior
from workbench.ranges import Count, Positive, checked

CLAMP = 0.02
"""The least initial distance of pixels from 0 and 1, where the sigmoid has hardly a gradient."""

CHUNK = 2**24
"""The size of the largest tensor [codes, K, d] to hold at once."""


class Vamp(Prior):
    """(1/K) Σ_k q(z|u_k), with the model's own encoder and K learned pseudo-inputs u_k.

    Tomczak and Welling 2018, equation 9. A pseudo-input is any image or, if the likelihood's pixels
    lie in [0, 1], the sigmoid of one. The initial ones scatter around the mean training image (for
    streamed images, computed in an extra pass), or around 0 with loaders of other projects.

    Args:
        model: the model whose codes these are; its posterior needs a density.
        components: K.
        spread: the standard deviation of the initial pseudo-inputs, before any sigmoid.

    Raises:
        ValueError: if the posteriors are points, or the encoder is conditioned on labels.
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
                "a VampPrior is a mixture of posteriors, and a point has no density: use "
                "posterior=normal, or another prior"
            )
        if model.conditioned_on:
            raise ValueError(
                "a VampPrior encodes pseudo-inputs, and this model's encoder is conditioned on "
                f"{', '.join(model.conditioned_on)}, which they do not have: use another prior"
            )
        self.code_space = model.code_space
        self._model = (model,)  # in a tuple, so that it does not become a submodule
        self.is_squashed = "real" not in model.likelihood.pixels
        self.register_buffer("center", torch.zeros(model.image_shape))
        self.offsets = nn.Parameter(spread * torch.randn(components, *model.image_shape))

    @torch.no_grad()
    def start_at(self, mean_image: Tensor) -> None:
        """Center the pseudo-inputs at an image, unless they are: checkpoints store the center."""
        if not self.center.any():
            if self.is_squashed:
                mean_image = mean_image.clamp(CLAMP, 1 - CLAMP).logit()
            self.center.copy_(mean_image)

    def pseudo_inputs(self) -> Tensor:
        """u, `[K, C, H, W]`, in the model's pixels."""
        u = self.center + self.offsets
        return u.sigmoid() if self.is_squashed else u

    def components(self) -> Posterior:
        """The K posteriors q(z|u_k)."""
        return self._model[0].encode(self.pseudo_inputs())

    def log_prob(self, z: Tensor) -> Tensor:
        components, count = self.components(), len(self.offsets)
        codes = z.reshape(-1, 1, z.shape[-1])
        log_q = [
            components.log_prob(rows.expand(-1, count, -1)).logsumexp(1)
            for rows in codes.split(max(1, CHUNK // (count * z.shape[-1])))
        ]
        return (torch.cat(log_q) - math.log(count)).reshape(z.shape[:-1])

    @torch.no_grad()
    def sample(self, count: int, *, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        size = len(self.offsets)
        chosen = torch.randint(size, (count,), generator=generator)
        # Each row holds one draw of every component; the n-th draw of a component is in row n.
        row = nn.functional.one_hot(chosen, size).cumsum(0)[torch.arange(count), chosen] - 1
        shape = (int(row.max()) + 1, size, self._model[0].noise_dim)
        noise = torch.randn(shape, generator=generator).to(self.offsets)
        return self.components().rsample(noise).cpu().float()[row, chosen]
