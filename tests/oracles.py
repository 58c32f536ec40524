"""A model whose log p(x), posterior, distortion and rate are known in closed form.

x = W z + b + σ ε with orthogonal columns of W is probabilistic PCA (Tipping and Bishop 1999): the
posterior is a diagonal Gaussian that a linear encoder can give exactly. Expected values are in
float64, by torch.distributions and linear algebra, without any code of musigma.
"""

import math
from types import SimpleNamespace

import lightning as L
import torch
from torch.distributions import MultivariateNormal

from musigma.data import TensorLoader
from musigma.models import MLP, Autoencoder, NormalPosterior, PointPosterior
from musigma.models.priors import PriorRecipe, StandardNormal
from musigma.objectives import Draw
from musigma.objectives.likelihoods import Gaussian

SHAPE = (1, 3, 4)
PIXELS = math.prod(SHAPE)


class LinearGaussian:
    """The known distribution, and musigma's model of it.

    Args:
        d: latent dimensions.
        sigma: σ.
        count: images drawn from it.
    """

    def __init__(self, d: int = 2, sigma: float = 0.6, count: int = 210) -> None:
        generator = torch.Generator().manual_seed(d)
        columns = torch.randn(PIXELS, d, generator=generator, dtype=torch.float64)
        orthogonal, _ = torch.linalg.qr(columns)
        self.w = orthogonal * torch.linspace(1.5, 0.7, d, dtype=torch.float64)
        self.b = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
        self.d, self.sigma = d, sigma
        z = torch.randn(count, d, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, PIXELS, generator=generator, dtype=torch.float64)
        flat = z @ self.w.T + self.b + sigma * noise
        # Sorted by norm, so that batches differ from one another.
        self.flat = flat[flat.square().sum(1).argsort()]
        self.x = self.flat.reshape(-1, *SHAPE)

    @property
    def marginal(self) -> MultivariateNormal:
        """p(x)."""
        eye = torch.eye(PIXELS, dtype=torch.float64)
        return MultivariateNormal(self.b, self.w @ self.w.T + self.sigma**2 * eye)

    def log_p(self) -> torch.Tensor:
        """log p(x) of every image, in nats."""
        return self.marginal.log_prob(self.flat)

    def posterior(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean and standard deviation of p(z|x)."""
        m = self.w.T @ self.w + self.sigma**2 * torch.eye(self.d, dtype=torch.float64)
        mean = (self.flat - self.b) @ self.w @ torch.linalg.inv(m)
        return mean, self.sigma * torch.linalg.inv(m).diagonal().sqrt().expand_as(mean)

    def model(
        self, shift: float = 0.0, stretch: float = 1.0, prior: PriorRecipe = StandardNormal
    ) -> Autoencoder:
        """musigma's model with these weights; q is the true posterior, moved and stretched.

        With another prior, q is the one that would be true under N(0, I).
        """
        network = MLP(encoder_sizes=(), decoder_sizes=())
        likelihood = Gaussian(self.sigma)
        shape = {"latent_dim": self.d, "image_shape": SHAPE}
        model = Autoencoder(network, likelihood, prior=prior, **shape).double()
        m = self.w.T @ self.w + self.sigma**2 * torch.eye(self.d, dtype=torch.float64)
        gain = torch.linalg.inv(m) @ self.w.T
        _, std = self.posterior()
        with torch.no_grad():
            model.head.mu.weight.copy_(gain)
            model.head.mu.bias.copy_(-gain @ self.b + shift)
            model.head.raw_std.weight.zero_()
            model.head.raw_std.bias.copy_((stretch * std[0] - 1e-6).expm1().log())
            model.decoder[0].weight.copy_(self.w)
            model.decoder[0].bias.copy_(self.b)
        return model.eval()

    def elbo(self, shift: float = 0.0, stretch: float = 1.0) -> torch.Tensor:
        """The ELBO under the moved and stretched posterior: log p(x) − KL(q ‖ p(z|x))."""
        mean, std = self.posterior()
        q = torch.distributions.Normal(mean + shift, stretch * std)
        true = torch.distributions.Normal(mean, std)
        return self.log_p() - torch.distributions.kl_divergence(q, true).sum(1)


def normal_draw(log_likelihood, z, mu, std, dataset_size):
    """Draws `z` of N(mu, std²), or of a point if std is None, under the prior N(0, I)."""
    prior = StandardNormal(SimpleNamespace(latent_dim=z.shape[-1]))
    if std is None:
        q, noise = PointPosterior(mu, torch.zeros_like(mu)), torch.zeros_like(z)
    else:
        q, noise = NormalPosterior(mu, std), ((z - mu) / std).detach()
    return Draw(log_likelihood, z, noise, q, prior, dataset_size=dataset_size)


class Images(L.LightningDataModule):
    """A data module with the same real-valued images as all of its sets."""

    def __init__(self, x: torch.Tensor, batch_size: int) -> None:
        super().__init__()
        self.x, self.batch_size = x, batch_size

    def train_dataloader(self):
        return TensorLoader(self.x, torch.zeros(len(self.x)), batch_size=self.batch_size)

    val_dataloader = test_dataloader = train_dataloader

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch


def quiet_trainer(**settings) -> L.Trainer:
    """A Trainer that writes nothing."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet, **settings)
