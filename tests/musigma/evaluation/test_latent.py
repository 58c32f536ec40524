"""Measures of codes against closed forms, torch.distributions and constructed encoders."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from musigma.evaluation.latent import (
    GaussianMoments,
    active_units,
    aggregated_posterior,
    gaussian_kl_to_prior,
    mutual_information,
    rate_per_dimension,
    share_at_floor,
    signal_to_noise,
    spread,
)
from musigma.models.posteriors import NormalHead
from oracles import LinearGaussian


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _encoder(count=50, d=3):
    mu = torch.randn(count, d, generator=_generator(1), dtype=torch.float64)
    std = 0.1 + torch.rand(count, d, generator=_generator(2), dtype=torch.float64)
    return mu, std


def test_rate_per_dimension_is_the_mean_divergence_from_the_prior():
    mu, std = _encoder()
    expected = kl_divergence(Normal(mu, std), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(rate_per_dimension(mu, std), expected)


def test_units_are_active_above_a_variance_of_a_hundredth():
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(50, 1)
    mu = 7 + signs * torch.tensor([0.0, 0.099, 0.101, 1.0]).double()
    torch.testing.assert_close(spread(mu), torch.tensor([0.0, 0.099, 0.101, 1.0]).double())
    assert active_units(mu, torch.ones(4)).tolist() == [False, False, True, True]


def test_signal_to_noise_is_a_ratio_of_variances_at_any_scale():
    signs = torch.tensor([[1.0], [-1.0]])
    mu, std = signs * torch.tensor([3.0, 0.5]), torch.tensor([[1.0, 2.0], [1.0, 0.0]])
    expected = torch.tensor([9.0, 0.125]).double()
    torch.testing.assert_close(signal_to_noise(mu, std), expected)
    torch.testing.assert_close(signal_to_noise(100 * mu, 100 * std), expected)


def test_stds_driven_down_by_a_head_count_as_at_the_floor():
    head = NormalHead(features=1, latent_dim=4)
    with torch.no_grad():
        head.raw_std.weight.zero_()
        head.raw_std.bias.copy_(torch.tensor([-100.0, -15.0, -10.0, 0.0]))
        std = head(torch.zeros(5, 1)).std
    assert share_at_floor(std) == 0.5  # softplus(-15) = 3e-7, softplus(-10) = 4.5e-5


@pytest.mark.parametrize("d", [1, 3])
def test_moments_of_the_aggregated_posterior_equal_those_of_draws(d):
    mu, std = _encoder(count=10, d=d)
    draws = mu + std * torch.randn(100_000, *mu.shape, generator=_generator(), dtype=torch.float64)
    moments = aggregated_posterior(mu, std)
    torch.testing.assert_close(moments.mean, mu.mean(0))
    by_draws = draws.flatten(0, 1).T.cov().reshape(d, d)
    torch.testing.assert_close(moments.covariance, by_draws, rtol=0, atol=0.01)


def test_the_true_posteriors_of_a_linear_gaussian_model_aggregate_to_the_prior():
    oracle = LinearGaussian(d=2, count=20_000)
    moments = aggregated_posterior(*oracle.posterior())
    torch.testing.assert_close(moments.mean, torch.zeros(2).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(moments.covariance, torch.eye(2).double(), rtol=0, atol=0.03)
    assert gaussian_kl_to_prior(moments) < 1e-3


def test_divergence_from_moments_is_the_kl_of_the_gaussian_with_these_moments():
    moments = aggregated_posterior(*_encoder())
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    expected = kl_divergence(MultivariateNormal(*moments), prior).item()
    assert gaussian_kl_to_prior(moments) == pytest.approx(expected)
    assert gaussian_kl_to_prior(GaussianMoments(torch.zeros(3), torch.eye(3))) == 0
    assert gaussian_kl_to_prior(GaussianMoments(torch.zeros(2), torch.ones(2, 2))) == math.inf


@pytest.mark.parametrize(("d", "sigma"), [(1, 0.6), (2, 0.6), (2, 2.0)])
def test_mutual_information_of_a_linear_gaussian_model_is_known(d, sigma):
    """z|x has the variance std² and z has 1, so I(x; z) = −Σ log std."""
    oracle = LinearGaussian(d, sigma, count=4000)
    mu, std = oracle.posterior()
    found = mutual_information(mu, std, generator=_generator())
    error = found.std().item() / len(found) ** 0.5
    assert found.mean().item() == pytest.approx(-std[0].log().sum().item(), abs=4 * error)


def test_mutual_information_equals_that_of_torchs_mixture():
    mu, std = _encoder()
    z = mu + std * torch.randn(mu.shape, generator=_generator(), dtype=torch.float64)
    posteriors = Independent(Normal(mu, std), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(len(mu))), posteriors)
    expected = posteriors.log_prob(z) - mixture.log_prob(z)
    far_off = mutual_information(mu + 1e6, std, generator=_generator())
    torch.testing.assert_close(far_off, expected)


def test_mutual_information_does_not_depend_on_how_many_draws_are_held_at_once(monkeypatch):
    mu, std = _encoder()
    expected = mutual_information(mu, std, generator=_generator())
    monkeypatch.setattr("musigma.evaluation.latent.DRAWS_AT_ONCE", 7)
    torch.testing.assert_close(mutual_information(mu, std, generator=_generator()), expected)


def test_mutual_information_of_separated_codes_is_log_n():
    mu, std = torch.arange(1000.0).unsqueeze(1), torch.full((1000, 1), 1e-6)
    found = mutual_information(mu, std, generator=_generator())
    torch.testing.assert_close(found, torch.full((1000,), math.log(1000)).double())


def test_mutual_information_of_a_collapsed_posterior_is_zero():
    found = mutual_information(torch.zeros(100, 2), torch.ones(100, 2), generator=_generator())
    torch.testing.assert_close(found, torch.zeros(100).double())


def test_the_rate_exceeds_the_information_by_at_least_the_divergence_from_moments():
    mu, std = _encoder(count=2000)
    found = mutual_information(mu, std, generator=_generator())
    rest = rate_per_dimension(mu, std).sum() - found.mean()
    assert rest > gaussian_kl_to_prior(aggregated_posterior(mu, std)) > 0


def test_mutual_information_of_a_point_posterior_is_refused():
    with pytest.raises(ValueError, match="density"):
        mutual_information(torch.zeros(3, 2), torch.zeros(3, 2), generator=_generator())
