"""The gap between the encoder and the best posterior of its own family."""

import torch
from torch import Generator, Tensor

from musigma.models import LatentVariableModel, NormalPosterior
from musigma.objectives.divergences import log_standard_normal


@torch.enable_grad()
def best_elbo(
    model: LatentVariableModel,
    x: Tensor,
    *,
    generator: Generator,
    steps: int = 300,
    pairs: int = 5,
    lr: float = 0.05,
) -> Tensor:
    """The ELBO of each image `[B]` under the best N(mu, std²) found for it alone, in nats.

    mu and std start at the encoder's and follow the gradient of the image's own ELBO, with the
    rate down to zero. What log p(x) exceeds this by is the gap of the family of posteriors, and
    what this exceeds the encoder's ELBO by is the gap of amortisation (Cremer, Li and Duvenaud
    2018, section 3). As a maximum that is searched for it is a lower bound of the true one.

    Args:
        model: in evaluation mode, given these images, with a normal posterior.
        x: images, `[B, C, H, W]`, on the model's device.
        generator: of the noise, on the CPU.
        steps: of Adam.
        pairs: antithetic draws of z for each image and step; the value at the end takes a hundred
            times as many.
        lr: the first learning rate, in units of the encoder's std for mu.

    Raises:
        ValueError: if the posterior is of another family.
    """
    with torch.no_grad():
        posterior = model.encode(x)
    if not isinstance(posterior, NormalPosterior):
        raise ValueError(f"the best N(mu, std²) is no {type(posterior).__name__}")
    start_mu, start_std = posterior
    shift = torch.zeros_like(start_mu, requires_grad=True)
    log_stretch = torch.zeros_like(start_std, requires_grad=True)
    optimizer = torch.optim.Adam([shift, log_stretch], lr=lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)

    def elbo() -> Tensor:
        mu, std = start_mu + start_std * shift, start_std * log_stretch.exp()
        half = torch.randn(pairs, *mu.shape, generator=generator).to(mu)
        noise = torch.cat([half, -half])  # what is odd in the noise cancels
        z = mu + std * noise
        log_joint = model.likelihood.log_prob(x, model.decode(z)) + model.prior.log_prob(z)
        # Without the rate's closed form: as q nears the posterior, this varies less and less.
        log_q = log_standard_normal(noise) - std.log().sum(-1)
        return (log_joint - log_q).mean(0)

    for _ in range(steps):
        loss = -elbo().sum()
        # The model's own weights need no gradients, and are left without.
        shift.grad, log_stretch.grad = torch.autograd.grad(loss, [shift, log_stretch])
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        draws = torch.stack([elbo() for _ in range(100)])
    return draws.cpu().double().mean(0)
