"""Objectives weigh distortion and rate in the same unit: nats per image, sums and not means."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from musigma.objectives import ELBO, Draw, Reconstruction
from musigma.objectives.divergences import kl_to_standard_normal


@pytest.fixture
def draw():
    torch.manual_seed(0)
    mu, std = torch.randn(6, 3), torch.rand(6, 3) + 0.1
    z = mu + std * torch.randn(4, 6, 3)
    return Draw(-800 + torch.randn(4, 6), z, mu, std)


def test_kl_equals_torch_distributions():
    torch.manual_seed(0)
    mu, std = torch.randn(50, 3, dtype=torch.float64), torch.rand(50, 3, dtype=torch.float64) + 0.01
    expected = kl_divergence(Normal(mu, std), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mu, std), expected)


def test_kl_equals_monte_carlo():
    torch.manual_seed(0)
    mu, std = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    z = Normal(mu, std).sample((1_000_000,))
    estimate = (Normal(mu, std).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean()
    assert kl_to_standard_normal(mu, std).item() == pytest.approx(estimate.item(), abs=0.005)


def test_kl_gradient_equals_finite_differences():
    inputs = (
        torch.randn(4, 2, dtype=torch.float64, requires_grad=True),
        (torch.rand(4, 2, dtype=torch.float64) + 0.1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(kl_to_standard_normal, inputs)


def test_kl_is_finite_at_the_floor_of_std():
    mu = torch.zeros(1, 1, requires_grad=True)
    std = torch.full((1, 1), 1e-6, requires_grad=True)
    kl_to_standard_normal(mu, std).sum().backward()
    assert torch.isfinite(std.grad).all()


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_minimises_distortion_plus_beta_times_rate(draw, beta):
    loss, terms, settings = ELBO(beta=beta, samples=4)(draw, step=0)
    distortion = -draw.log_likelihood.mean(0)
    rate = kl_divergence(Normal(draw.mu, draw.std), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(loss, (distortion + beta * rate).mean())
    torch.testing.assert_close(terms["distortion"], distortion)
    torch.testing.assert_close(terms["rate"], rate)
    torch.testing.assert_close(terms["elbo"], -(distortion + rate))
    assert settings == {"beta": beta}


def test_reconstruction_reports_the_rate_and_does_not_weigh_it(draw):
    loss, terms, _ = Reconstruction(samples=4)(draw, step=0)
    torch.testing.assert_close(loss, -draw.log_likelihood.mean())
    assert set(terms) == {"distortion", "rate"}


def test_a_point_has_no_rate(draw):
    _, terms, _ = Reconstruction()(draw._replace(std=None), step=0)
    assert set(terms) == {"distortion"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELBO(beta=-1),
        lambda: ELBO(beta=float("nan")),
        lambda: ELBO(samples=0),
        lambda: Reconstruction(samples=0),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()
