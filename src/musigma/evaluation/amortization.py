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
    """The ELBO of each image under the best N(mu, std²) found for it alone, `[B]`, in nats.

    mu and std start at the encoder's values and maximise the image's own ELBO. log p(x) less this
    ELBO is the approximation gap of the Gaussian family; this ELBO less the encoder's is the
    amortization gap (Cremer, Li and Duvenaud 2018, section 3). The search finds a lower bound of
    the true maximum.

    Args:
        model: in evaluation mode, conditioned on these images, with a normal posterior.
        x: images, `[B, C, H, W]`, on the model's device.
        generator: of the noise, on the CPU.
        steps: optimizer steps of Adam.
        pairs: antithetic pairs of draws for each image and step; the final estimate takes a
            hundred times as many.
        lr: the initial learning rate; mu is scaled by the encoder's std.

    Raises:
        ValueError: if the posterior is not a diagonal Gaussian.
    """
    with torch.no_grad():
        posterior = model.encode(x)
    if not isinstance(posterior, NormalPosterior):
        raise ValueError(
            f"the best N(mu, std²) is defined for posterior=normal, not {type(posterior).__name__}"
        )
    start_mu, start_std = posterior
    shift = torch.zeros_like(start_mu, requires_grad=True)
    log_stretch = torch.zeros_like(start_std, requires_grad=True)
    optimizer = torch.optim.Adam([shift, log_stretch], lr=lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)

    def elbo() -> Tensor:
        mu, std = start_mu + start_std * shift, start_std * log_stretch.exp()
        half = torch.randn(pairs, *mu.shape, generator=generator).to(mu)
        noise = torch.cat([half, -half])  # antithetic: odd functions of the noise cancel
        z = mu + std * noise
        log_joint = model.likelihood.log_prob(x, model.decode(z)) + model.prior.log_prob(z)
        # Not the closed form of the rate: this has no variance if q is the true posterior.
        log_q = log_standard_normal(noise) - std.log().sum(-1)
        return (log_joint - log_q).mean(0)

    for _ in range(steps):
        loss = -elbo().sum()
        # Not loss.backward(), which would leave gradients in the model's weights.
        shift.grad, log_stretch.grad = torch.autograd.grad(loss, [shift, log_stretch])
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        draws = torch.stack([elbo() for _ in range(100)])
    return draws.cpu().double().mean(0)
