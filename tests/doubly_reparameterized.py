"""Check the doubly reparameterised gradient of a posterior against the standard estimator."""

from types import SimpleNamespace

import torch

from musigma.models.priors import StandardNormal
from musigma.objectives import Draw
from musigma.objectives.iwae import IWAE


def check_doubly_reparameterized_gradient(parameters, encode, noise_dim, prior=None):
    """Check that the encoder's gradient has the mean of the standard estimator's.

    Args:
        parameters: the encoder's.
        encode: returns the posterior of B identical images.
        noise_dim: the size of the noise of one code.
        prior: p(z), N(0, I) by default.
    """
    batches, samples, generator = 100, 8, torch.Generator().manual_seed(2)
    gradients = {"standard": [], "doubly_reparameterized": []}
    for _ in range(batches):
        for gradient, found in gradients.items():
            posterior = encode()
            shape = samples, len(posterior.mu), noise_dim
            noise = torch.randn(shape, generator=generator, dtype=torch.float64)
            z = posterior.rsample(noise)
            p = prior or StandardNormal(SimpleNamespace(latent_dim=z.shape[-1]))
            log_likelihood = -0.5 * (2 * z - 1).square().sum(-1) - z.sin().sum(-1)
            draw = Draw(log_likelihood, z, noise, posterior, p, dataset_size=1)
            loss = IWAE(samples=samples, gradient=gradient)(draw, 0).loss
            parts = torch.autograd.grad(loss, parameters, allow_unused=True)
            found.append(torch.cat([part.flatten() for part in parts if part is not None]))
    standard, other = (torch.stack(found) for found in gradients.values())
    error = ((standard.var(0) + other.var(0)) / batches).sqrt()
    deviation = (standard.mean(0) - other.mean(0)).abs()
    assert torch.all(deviation <= 4.5 * error), (deviation / error).max()
