"""A VAE whose samples come from a diffusion model of its codes, trained beside it."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from musigma.models import Autoencoder, Network
from musigma.models.priors import Prior
from musigma.objectives import Draw
from musigma.objectives.likelihoods import Likelihood
from musigma.seeding import normal_noise
from workbench.optimizers.parameter_groups import OptimizerRecipe
from workbench.ranges import Count, checked


class Diffusion(Prior):
    """p(z) by T steps of denoising (Ho et al. 2020); its density has a bound only."""

    alpha_bar: Tensor
    betas: Tensor

    def __init__(self, d: int, steps: int, width: int = 64) -> None:
        super().__init__()
        self.d, self.steps = d, steps
        self.net = nn.Sequential(nn.Linear(d + 1, width), nn.SiLU(), nn.Linear(width, d))
        betas = torch.linspace(1e-3, 0.3, steps)
        self.register_buffer("betas", betas, persistent=False)
        self.register_buffer("alpha_bar", (1 - betas).cumprod(0), persistent=False)

    def predicted(self, z: Tensor, t: Tensor) -> Tensor:
        """The noise in codes `[..., d]` after steps `[...]`."""
        return self.net(torch.cat([z, t.unsqueeze(-1) / self.steps], -1))

    def loss(self, z: Tensor, noise: Tensor) -> Tensor:
        """The squared error of the noise in codes `[K, B, d]`, `[B]`; noise is `[K, B, d + 1]`."""
        t = (torch.special.ndtr(noise[..., -1]) * self.steps).long().clamp(max=self.steps - 1)
        a, noise = self.alpha_bar[t].unsqueeze(-1), noise[..., :-1]
        noised = a.sqrt() * z + (1 - a).sqrt() * noise
        return (self.predicted(noised, t) - noise).square().sum(-1).mean(0)

    def log_prob(self, z: Tensor) -> Tensor:
        raise NotImplementedError("a diffusion model has a bound of its density only")

    @torch.no_grad()
    def sample(self, count: int, *, seed: int) -> Tensor:
        noise = normal_noise(self.steps + 1, count, self.d, seed=seed).to(self.betas)
        z = noise[-1]
        for step in reversed(range(self.steps)):
            beta, left = self.betas[step], 1 - self.alpha_bar[step]
            predicted = self.predicted(z, torch.full((count,), step, device=z.device))
            z = (z - beta / left.sqrt() * predicted) / (1 - beta).sqrt()
            z = z + beta.sqrt() * noise[step] * bool(step)
        return z.cpu()


class LatentDiffusion(Autoencoder):
    """A VAE with N(0, I), and a diffusion model that learns its codes with an optimizer of its own.

    Args:
        network, likelihood, settings: as in `Autoencoder`.
        steps: T.
    """

    fits_prior = True

    @checked
    def __init__(
        self, network: Network, likelihood: Likelihood, *, steps: Count = 20, **settings: Any
    ) -> None:
        super().__init__(network, likelihood, **settings)
        self.diffusion = Diffusion(self.latent_dim, steps)
        self.noise_dim = 2 * self.latent_dim + 1  # of z, of the diffusion, and of its step

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        return {"diffusion": functools.partial(AdamW, lr=1e-3)}

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        of_z, of_diffusion = noise.split([self.latent_dim, self.latent_dim + 1], -1)
        draw = super().draw(x, of_z, dataset_size)
        loss = self.diffusion.loss(draw.z.detach(), of_diffusion)
        return replace(draw, own_terms={"denoising": loss})

    def fitted_prior(self, mu: Tensor) -> Prior:
        return self.diffusion
