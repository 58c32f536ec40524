"""Checks for posteriors of any family, against independent computations."""

import pytest
import torch

from objectives import FUNCTIONS
from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line


def check_density(posterior, noise):
    """Check log q(z|x) = log N(noise; 0, I) − log |∂z/∂noise|, at the noise and at the code.

    Args:
        posterior: of B images, in float64, with noise of the size of its codes.
        noise: `[K, B, d]`.
    """
    z = posterior.rsample(noise)
    jacobian = torch.autograd.functional.jacobian(lambda n: posterior.rsample(n).sum(1), noise)
    # ∂z[k, b]/∂noise[k, b], [K, B, d, d]: a code depends on its own noise only.
    each = jacobian.diagonal(dim1=0, dim2=2).permute(3, 1, 0, 2)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1)
    expected = expected - torch.linalg.slogdet(each).logabsdet
    torch.testing.assert_close(posterior.log_prob_at(noise), expected)
    torch.testing.assert_close(posterior.log_prob(z), expected)


def check_integral(posterior, half_width=10.0, side=300):
    """Check that q(z|x) integrates to one, over one or two dimensions."""
    d = posterior.mu.shape[1]
    width = 2 * half_width / side
    axis = -half_width + width * (torch.arange(side, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(*[axis] * d).reshape(-1, 1, d)
    with torch.no_grad():
        mass = posterior.log_prob(grid.expand(-1, len(posterior.mu), -1)).exp().sum(0) * width**d
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=1e-4)


def check_moments(posterior, noise_dim, tolerance):
    """Check that `mu` and `std` are the moments of many draws."""
    count = len(posterior.mu)
    noise = torch.randn(100_000, count, noise_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = posterior.rsample(noise.to(posterior.mu))
    torch.testing.assert_close(posterior.mu, z.mean(0), rtol=0, atol=tolerance)
    torch.testing.assert_close(posterior.std, z.std(0), rtol=tolerance, atol=tolerance)


def check_objectives(model, refused):
    """Check that each objective has a finite loss, and finite gradients for the model's weights.

    Args:
        model: one whose posterior has a density.
        refused: the classes of objectives that must refuse this posterior.
    """
    torch.manual_seed(0)
    x = torch.randn(5, *model.image_shape)
    for objective in FUNCTIONS:
        model.zero_grad()
        noise = torch.randn(objective.samples, len(x), model.noise_dim)
        draw = model.draw(x, noise, 100)
        if type(objective).__name__ in refused:
            with pytest.raises(ConfigError, match="or another objective"):
                objective(draw, 0)
            continue
        loss, terms, _ = objective(draw, 0)
        loss.backward()
        assert torch.isfinite(torch.cat([loss.detach()[None], *terms.values()])).all(), objective
        for name, weight in model.named_parameters():
            if "prior" not in name and "upwards" not in name:
                assert weight.grad is not None, name
                assert weight.grad.isfinite().all(), name


def fault_of(*arguments):
    """The one-line error with which `train` refuses these arguments."""
    with pytest.raises(ConfigError) as refused:
        read_command_line("train", [*arguments])
    (line,) = str(refused.value).splitlines()
    return line
