"""Estimators of log p(x) on models without a closed form, and where they do not apply."""

import numpy as np
import pytest
import torch
from scipy import stats

from musigma.evaluation import (
    importance_estimate,
    pareto_k,
    quadrature_estimate,
    why_no_importance_weights,
    why_no_log_p,
)
from musigma.models import MLP, Autoencoder
from musigma.objectives import ELBO, Reconstruction
from musigma.objectives.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "likelihood", [Laplace(0.5), Gaussian(0.5), Bernoulli(), ContinuousBernoulli()]
)
@pytest.mark.parametrize("d", [1, 2])
def test_quadrature_and_importance_weights_agree_on_a_nonlinear_model(likelihood, d):
    torch.manual_seed(0)
    network = MLP(encoder_sizes=(8,), decoder_sizes=(8,), activation="Tanh")
    model = Autoencoder(network, likelihood, latent_dim=d, image_shape=(1, 3, 3)).double().eval()
    torch.nn.init.ones_(model.head.raw_std.bias)  # a proposal wider than the posterior
    x = torch.rand(20, 1, 3, 3).round().double()
    exact = quadrature_estimate(model, x, side=128)
    assert exact.converged.all()
    weighted = importance_estimate(
        model, x, samples=20_000, generator=torch.Generator().manual_seed(1)
    )
    error = (weighted.log_p - exact.log_p).abs() / weighted.standard_error
    assert torch.all(error < 4.5)
    assert torch.all(weighted.elbo < exact.log_p)


def test_quadrature_does_not_depend_on_how_many_codes_are_decoded_at_once(monkeypatch):
    torch.manual_seed(0)
    model = Autoencoder(MLP((8,), (8,)), Bernoulli(), image_shape=(1, 3, 3)).double().eval()
    x = torch.rand(5, 1, 3, 3).round().double()
    exact = quadrature_estimate(model, x).log_p
    monkeypatch.setattr("musigma.evaluation.encoding.PIXELS", 9 * 1000)
    monkeypatch.setattr("musigma.evaluation.quadrature.IMAGES_AT_ONCE", 2)
    torch.testing.assert_close(quadrature_estimate(model, x).log_p, exact)


@pytest.mark.parametrize("shape", [0.1, 0.4, 0.7, 1.0])
def test_pareto_k_finds_the_shape_of_a_pareto_tail(shape):
    """Weights drawn by scipy from a generalised Pareto of known shape."""
    rng = np.random.default_rng(0)
    weights = stats.genpareto.rvs(shape, size=(20_000, 30), random_state=rng)
    found = pareto_k(torch.from_numpy(np.log(weights + 1e-12)))
    assert found.mean().item() == pytest.approx(shape, abs=0.05)


def test_pareto_k_agrees_with_maximum_likelihood():
    rng = np.random.default_rng(1)
    weights = stats.genpareto.rvs(0.5, size=20_000, random_state=rng)
    tail = np.sort(weights)[-425:] - np.sort(weights)[-426]
    by_scipy = stats.genpareto.fit(tail, floc=0)[0]
    found = pareto_k(torch.from_numpy(np.log(weights)).unsqueeze(1)).item()
    assert found == pytest.approx(by_scipy, abs=0.05)


def test_pareto_k_does_not_depend_on_the_scale_of_the_weights():
    log_w = torch.randn(500, 4, dtype=torch.float64)
    torch.testing.assert_close(pareto_k(log_w), pareto_k(log_w - 9000))


def test_pareto_k_needs_a_tail():
    with pytest.raises(ValueError, match="at least 25"):
        pareto_k(torch.zeros(24, 1))


@pytest.mark.parametrize(
    ("likelihood", "posterior", "objective", "log_p", "weights"),
    [
        (Bernoulli(), "normal", ELBO(), None, None),
        (Bernoulli(grey_levels=True), "normal", ELBO(), "not a density", "not a density"),
        (Laplace(), "normal", Reconstruction(), "without a rate", "without a rate"),
        (Laplace(), "normal", ELBO(), None, None),
        (Laplace(), "point", ELBO(), None, "is a point"),
    ],
)
def test_log_p_and_importance_weights_without_meaning_are_refused_with_a_reason(
    likelihood, posterior, objective, log_p, weights
):
    model = Autoencoder(MLP(), likelihood, posterior=posterior)
    for reason, expected in (
        (why_no_log_p(model, objective), log_p),
        (why_no_importance_weights(model, objective), weights),
    ):
        assert reason is None if expected is None else expected in reason
