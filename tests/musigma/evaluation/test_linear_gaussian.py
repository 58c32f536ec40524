"""The linear-Gaussian oracle: every estimator against a log p(x) that is known exactly."""

import pytest
import torch

from musigma.evaluation import importance_estimate, quadrature_estimate
from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Gaussian
from oracles import LinearGaussian, normal_draw

pytestmark = pytest.mark.slow


def _generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_oracles_encoder_gives_the_true_posterior(d):
    oracle = LinearGaussian(d)
    torch.testing.assert_close(tuple(oracle.model().encode(oracle.x)), oracle.posterior())


@pytest.mark.parametrize("d", [1, 2, 5])
def test_with_the_true_posterior_every_weight_is_p_of_x(d):
    oracle = LinearGaussian(d)
    estimate = importance_estimate(oracle.model(), oracle.x, samples=50, generator=_generator())
    torch.testing.assert_close(estimate.log_p, oracle.log_p(), rtol=0, atol=1e-6)
    torch.testing.assert_close(estimate.effective_samples, torch.full((210,), 50.0).double())
    assert torch.all(estimate.standard_error < 1e-6)


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (0.3, 1.0), (0.0, 1.4), (0.2, 0.8)])
def test_the_elbo_is_log_p_minus_the_divergence_of_the_posteriors(shift, stretch):
    oracle = LinearGaussian()
    estimate = importance_estimate(
        oracle.model(shift, stretch), oracle.x, samples=2000, generator=_generator()
    )
    torch.testing.assert_close(estimate.elbo, oracle.elbo(shift, stretch), rtol=0, atol=0.2)
    assert estimate.elbo.mean().item() == pytest.approx(
        oracle.elbo(shift, stretch).mean().item(), abs=0.01
    )


@pytest.mark.parametrize("d", [1, 2, 5])
def test_importance_weighted_log_p_is_within_its_standard_errors(d):
    oracle = LinearGaussian(d)
    estimate = importance_estimate(
        oracle.model(0.2, 1.2), oracle.x, samples=2000, generator=_generator()
    )
    deviation = (estimate.log_p - oracle.log_p()) / estimate.standard_error
    assert torch.all(deviation.abs() < 4)
    assert deviation.std().item() == pytest.approx(1, abs=0.2)
    assert torch.all(estimate.pareto_k < 0.7)


def test_a_too_narrow_posterior_shows_in_pareto_k():
    oracle = LinearGaussian()
    narrow = importance_estimate(
        oracle.model(0.0, 0.3), oracle.x, samples=2000, generator=_generator()
    )
    assert narrow.pareto_k.median() > 0.7
    assert narrow.effective_samples.median() < 1500


@pytest.mark.parametrize("d", [1, 2])
def test_quadrature_is_exact(d):
    oracle = LinearGaussian(d)
    estimate = quadrature_estimate(oracle.model(), oracle.x[::5], side=128)
    assert estimate.converged.all()
    torch.testing.assert_close(estimate.log_p, oracle.log_p()[::5], rtol=0, atol=1e-3)


def test_quadrature_in_float32_is_exact_to_a_thousandth_of_a_nat():
    oracle = LinearGaussian()
    estimate = quadrature_estimate(oracle.model().float(), oracle.x[::5].float(), side=128)
    torch.testing.assert_close(estimate.log_p, oracle.log_p()[::5], rtol=0, atol=1e-3)


def test_quadrature_reports_a_grid_that_is_too_coarse():
    oracle = LinearGaussian(sigma=0.004)
    coarse = quadrature_estimate(oracle.model(), oracle.x[:20], side=64, divisions=1)
    assert not coarse.converged.any()
    fine = quadrature_estimate(oracle.model(), oracle.x[:20])
    assert fine.converged.all()
    torch.testing.assert_close(fine.log_p, oracle.log_p()[:20], rtol=0, atol=1e-3)


@pytest.mark.parametrize("sigma", [1e-3, pytest.param(1e-4, marks=pytest.mark.exhaustive)])
def test_quadrature_of_a_needle_is_finite_and_converged_only_where_it_is_exact(sigma):
    """Its density is thousands of nats higher than at the points of the first grid."""
    oracle = LinearGaussian(sigma=sigma)
    estimate = quadrature_estimate(oracle.model(), oracle.x[:20])
    error = (estimate.log_p - oracle.log_p()[:20]).abs()
    assert estimate.log_p.isfinite().all()
    assert torch.all(error < 1)
    assert torch.all(error[estimate.converged] < 1e-3)
    assert estimate.converged.sum() >= (15 if sigma == 1e-3 else 0)


def test_quadrature_reports_codes_beyond_its_grid():
    oracle = LinearGaussian(d=1)
    far = (oracle.b + 9 * oracle.w[:, 0] * 10).reshape(1, 1, 3, 4)
    assert not quadrature_estimate(oracle.model(), far).converged.any()


def test_quadrature_refuses_three_dimensions():
    with pytest.raises(ValueError, match="importance weights"):
        quadrature_estimate(LinearGaussian(d=3).model(), LinearGaussian(d=3).x)


@pytest.mark.exhaustive
def test_a_vae_trained_on_the_oracles_data_reaches_the_maximum_likelihood():
    """The optimum is the log-likelihood of probabilistic PCA, in closed form by eigenvalues."""
    oracle = LinearGaussian(count=2000)
    values = torch.linalg.eigvalsh(torch.cov(oracle.flat.T, correction=0)).flip(0)
    d, p = oracle.d, len(values)
    noise = values[d:].mean()
    # Tipping and Bishop 1999: the log-likelihood at its maximum.
    best = -0.5 * (
        p * torch.log(torch.tensor(2 * torch.pi))
        + values[:d].log().sum()
        + (p - d) * noise.log()
        + p
    )
    torch.manual_seed(0)
    network = MLP(encoder_sizes=(), decoder_sizes=())
    likelihood = Gaussian(1.0, "learned")
    model = Autoencoder(network, likelihood, latent_dim=d, image_shape=(1, 3, 4)).double()
    module = AutoencoderModule(model, ELBO(samples=8))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.04)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)
    for _ in range(800):
        mu, std = model.encode(oracle.x)
        z = mu + std * torch.randn(8, *mu.shape, dtype=torch.float64)
        log_likelihood = likelihood.log_prob(oracle.x, model.decode(z))
        draw = normal_draw(log_likelihood, z, mu, std, len(oracle.x))
        loss = module.objective(draw, 0).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    assert -loss.item() == pytest.approx(best.item(), abs=0.03)
    found = importance_estimate(model.eval(), oracle.x, samples=100, generator=_generator())
    assert found.log_p.mean().item() == pytest.approx(best.item(), abs=0.005)
    assert likelihood.log_scale.exp().item() == pytest.approx(noise.sqrt().item(), rel=0.01)
