"""The Laplace likelihood is a density, and its negative logarithm is the L1 loss."""

import math

import pytest
import torch
import torch.nn.functional as F

from musigma.objectives.likelihoods import Laplace


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_integrates_to_one(scale):
    x = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
    density = Laplace(scale).log_prob(x.reshape(-1, 1, 1, 1), torch.full((1, 1, 1), 0.7)).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_equals_torch_distributions(scale):
    x, output = torch.randn(5, 1, 28, 28), torch.randn(3, 5, 1, 28, 28)
    expected = torch.distributions.Laplace(output, scale).log_prob(x).sum((2, 3, 4))
    torch.testing.assert_close(Laplace(scale).log_prob(x, output), expected)


def test_is_the_l1_loss_up_to_its_constant():
    x, x_hat = torch.randn(5, 1, 28, 28), torch.randn(5, 1, 28, 28)
    likelihood = Laplace()
    per_pixel = -likelihood.log_prob(x, x_hat).mean() / 784 - likelihood.constant
    torch.testing.assert_close(per_pixel, F.l1_loss(x_hat, x))


def test_constant_is_543_nats_for_an_image_of_784_pixels():
    assert Laplace().constant * 784 == pytest.approx(543.43, abs=0.005)
    assert Laplace().constant == math.log(2)


def test_samples_have_the_mean_and_the_scale():
    torch.manual_seed(0)
    samples = Laplace(0.5).sample(torch.full((100_000, 1, 1, 1), 2.0))
    assert samples.mean().item() == pytest.approx(2, abs=0.01)
    assert (samples - 2).abs().mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="scale must be positive"):
        Laplace(scale)
