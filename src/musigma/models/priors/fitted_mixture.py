"""A mixture of Gaussians, fitted to codes after a training without a prior."""

import torch
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from musigma.models.priors.prior import Prior
from musigma.seeding import FIXED_SEED

COMPONENTS = 10


class FittedMixture(Prior):
    """A mixture of Gaussians with full covariances, float64 on the CPU (Ghosh et al. 2020, § 4).

    Args:
        codes: the codes to fit it to, `[N, d]`.
        components: the number of Gaussians; at most N are fitted.
    """

    def __init__(self, codes: Tensor, components: int = COMPONENTS) -> None:
        super().__init__()
        count = min(components, len(codes))
        with threadpool_limits(1):  # threads are slower at this size, and add in varying order
            fit = GaussianMixture(count, random_state=FIXED_SEED).fit(codes.double().cpu().numpy())
        self.weights, means, covariances = (
            torch.from_numpy(part) for part in (fit.weights_, fit.means_, fit.covariances_)
        )
        self._normals = MultivariateNormal(means, covariances)

    def log_prob(self, z: Tensor) -> Tensor:
        mixture = MixtureSameFamily(Categorical(self.weights), self._normals)
        return mixture.log_prob(z.cpu().double()).to(z)

    def sample(self, count: int, *, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        chosen = self.weights.multinomial(count, replacement=True, generator=generator)
        mean, scale = self._normals.mean, self._normals.scale_tril
        noise = torch.randn(count, mean.shape[1], generator=generator, dtype=torch.float64)
        return (mean[chosen] + (scale[chosen] @ noise.unsqueeze(2)).squeeze(2)).float()
