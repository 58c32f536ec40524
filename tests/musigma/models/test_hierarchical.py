"""The hierarchical VAE, against two linear layers, which are jointly Gaussian."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from doubly_reparameterized import check_doubly_reparameterized_gradient
from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.predict import predict
from musigma.evaluation import importance_estimate, quadrature_estimate
from musigma.loading import load_run
from musigma.models import MLP
from musigma.models.hierarchical import HierarchicalVAE
from musigma.models.posteriors.hierarchical import HierarchicalPosterior
from musigma.models.priors.hierarchical import HierarchicalPrior
from musigma.objectives.likelihoods import Gaussian, Laplace
from oracles import PIXELS, SHAPE
from posteriors import (
    check_density,
    check_moments,
    check_objectives,
    fault_of,
)

RUN = "model=hierarchical_vae", "model.latent_dims=[4,2]", "model.sizes_between=[8]"


def _eye(d):
    return torch.eye(d, dtype=torch.float64)


def _kl(mean, variance):
    """KL(N(mean, variance) ‖ N(0, 1)), summed over dimensions."""
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)


class TwoLayers:
    """z₂ ~ N(0, I), z₁ = B z₂ + b + t ε, x = W z₁ + c + σ ε, all in closed form.

    WᵀW, BBᵀ and BᵀB are diagonal, so that p(z₁|x) and p(z₂|z₁) are too.
    """

    def __init__(self, d1=3, d2=2, sigma=0.6, t=0.8):
        generator = torch.Generator().manual_seed(d1 + d2)
        random = torch.randn(PIXELS, d1, generator=generator, dtype=torch.float64)
        self.w = torch.linalg.qr(random).Q * torch.linspace(1.5, 0.7, d1, dtype=torch.float64)
        self.big_b = torch.zeros(d1, d2, dtype=torch.float64)
        self.big_b.diagonal().copy_(torch.linspace(1.2, 0.6, d2, dtype=torch.float64))
        self.b = torch.randn(d1, generator=generator, dtype=torch.float64)
        self.c = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
        self.d1, self.d2, self.sigma, self.t = d1, d2, sigma, t
        noise = torch.randn(60, d1 + d2 + PIXELS, generator=generator, dtype=torch.float64)
        n1, n2, n = noise.split((d1, d2, PIXELS), 1)
        z1 = n2 @ self.big_b.T + self.b + t * n1
        self.flat = z1 @ self.w.T + self.c + sigma * n
        self.x = self.flat.reshape(-1, *SHAPE)

    def prior(self):
        """p(z₁, z₂)."""
        of_z1 = self.big_b @ self.big_b.T + self.t**2 * _eye(self.d1)
        above = torch.cat([of_z1, self.big_b], 1)
        below = torch.cat([self.big_b.T, _eye(self.d2)], 1)
        mean = torch.cat([self.b, torch.zeros(self.d2).double()])
        return MultivariateNormal(mean, torch.cat([above, below]))

    def log_p(self):
        of_z1 = self.big_b @ self.big_b.T + self.t**2 * _eye(self.d1)
        covariance = self.w @ of_z1 @ self.w.T + self.sigma**2 * _eye(PIXELS)
        return MultivariateNormal(self.w @ self.b + self.c, covariance).log_prob(self.flat)

    def upwards(self):
        """A, a and S of p(z₂|z₁) = N(A z₁ + a, S)."""
        s = torch.linalg.inv(_eye(self.d2) + self.big_b.T @ self.big_b / self.t**2)
        gain = s @ self.big_b.T / self.t**2
        return gain, -gain @ self.b, s

    def first(self):
        """The means and variances of p(z₁|x)."""
        prior = torch.linalg.inv(self.big_b @ self.big_b.T + self.t**2 * _eye(self.d1))
        covariance = torch.linalg.inv(prior + self.w.T @ self.w / self.sigma**2)
        gain = covariance @ self.w.T / self.sigma**2
        offset = covariance @ prior @ self.b - gain @ self.c
        return gain, offset, covariance.diagonal()

    def model(self, shift=0.0, stretch=1.0):
        """musigma's model; q(z₁|x) is the true posterior, moved and stretched."""
        model = HierarchicalVAE(
            MLP(encoder_sizes=(), decoder_sizes=()),
            Gaussian(self.sigma),
            latent_dims=(self.d1, self.d2),
            sizes_between=(),
            image_shape=SHAPE,
        ).double()
        gain, offset, variance = self.first()
        big_a, a, s = self.upwards()
        _set(model.head, gain, offset + shift, stretch * variance.sqrt())
        _set(model.upwards[0][0], big_a, a, s.diagonal().sqrt())
        _set(model.prior.downwards[0][0], self.big_b, self.b, torch.full((self.d1,), self.t))
        with torch.no_grad():
            model.decoder[0].weight.copy_(self.w)
            model.decoder[0].bias.copy_(self.c)
        return model.eval()

    def rates(self, shift, stretch):
        """The rates by layer under the moved and stretched posterior, `[N]` each."""
        gain, offset, variance = self.first()
        mean, variance = self.flat @ gain.T + offset + shift, stretch**2 * variance
        big_a, a, s = self.upwards()
        spread = (big_a.square() @ variance).sum() / 2
        second = _kl(mean @ big_a.T + a, s.diagonal()) + spread
        # z₁ − (B z₂ + b), whose mean and variance are known.
        back = _eye(self.d1) - self.big_b @ big_a
        residual = mean @ back.T - self.big_b @ a - self.b
        squares = residual.square().sum(1) + (back.square() @ variance).sum()
        squares = squares + (self.big_b @ s @ self.big_b.T).trace()
        entropy = 0.5 * (variance.log() + 1 + math.log(2 * math.pi)).sum()
        normaliser = self.d1 * (math.log(self.t) + 0.5 * math.log(2 * math.pi))
        return 0.5 * squares / self.t**2 + normaliser - entropy, second


@torch.no_grad()
def _set(head, weight, bias, std):
    head.mu.weight.copy_(weight)
    head.mu.bias.copy_(bias)
    head.raw_std.weight.zero_()
    head.raw_std.bias.copy_((std - 1e-6).expm1().log())


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _noise(samples, model, count):
    return torch.randn(samples, count, model.noise_dim, generator=_generator(), dtype=torch.float64)


def test_under_the_true_posterior_every_importance_weight_is_p_of_x():
    oracle = TwoLayers()
    estimate = importance_estimate(oracle.model(), oracle.x, samples=25, generator=_generator())
    torch.testing.assert_close(estimate.log_p, oracle.log_p(), rtol=0, atol=1e-6)
    torch.testing.assert_close(estimate.effective_samples, torch.full((60,), 25.0).double())


def _check_rates():
    oracle = TwoLayers()
    shift, stretch = 0.3, 1.4
    model = oracle.model(shift, stretch)
    with torch.no_grad():
        draw = model.draw(oracle.x, _noise(4000, model, len(oracle.x)))
        found = draw.reported
    first, second = oracle.rates(shift, stretch)
    assert found["rate_1"].mean().item() == pytest.approx(first.mean().item(), abs=0.02)
    assert found["rate_2"].mean().item() == pytest.approx(second.mean().item(), abs=0.005)
    torch.testing.assert_close(found["rate_2"], second, rtol=0, atol=0.05)
    torch.testing.assert_close(draw.rate(), found["rate_1"] + found["rate_2"])


def test_the_rates_of_the_layers_equal_their_closed_forms():
    _check_rates()


def test_a_second_rate_computed_at_mu_instead_of_a_draw_is_caught(monkeypatch):
    right = HierarchicalPrior.rates

    def wrong(self, draw):
        *below, _ = right(self, draw)
        q = draw.posterior.conditionals(draw.posterior.mu)[-1]
        return [*below, q.rate_to_standard_normal()]

    monkeypatch.setattr(HierarchicalPrior, "rates", wrong)
    with pytest.raises(AssertionError):
        _check_rates()


def test_importance_weights_of_an_inexact_posterior_find_log_p():
    oracle = TwoLayers()
    estimate = importance_estimate(
        oracle.model(0.2, 1.2), oracle.x, samples=2000, generator=_generator()
    )
    deviation = (estimate.log_p - oracle.log_p()) / estimate.standard_error
    assert torch.all(deviation.abs() < 4)
    assert torch.all(estimate.elbo < estimate.log_p)


def test_quadrature_is_exact_with_one_dimension_per_layer():
    oracle = TwoLayers(1, 1)
    estimate = quadrature_estimate(oracle.model(), oracle.x[:10])
    assert estimate.converged.all()
    torch.testing.assert_close(estimate.log_p, oracle.log_p()[:10], rtol=0, atol=1e-3)


def test_the_prior_has_the_density_and_samples_of_the_joint_gaussian():
    oracle = TwoLayers()
    prior = oracle.model().prior
    z = torch.randn(3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(z), oracle.prior().log_prob(z))
    samples = prior.sample(100_000, seed=0)
    assert samples.dtype == torch.float32
    torch.testing.assert_close(samples.double().mean(0), oracle.prior().mean, rtol=0, atol=0.02)
    covariance = samples.double().T.cov()
    torch.testing.assert_close(covariance, oracle.prior().covariance_matrix, rtol=0, atol=0.03)


def test_moments_of_linear_layers_are_exact():
    oracle = TwoLayers()
    gain, offset, variance = oracle.first()
    big_a, a, s = oracle.upwards()
    mean = oracle.flat @ gain.T + offset
    mu, std = oracle.model().encode(oracle.x)
    torch.testing.assert_close(mu, torch.cat([mean, mean @ big_a.T + a], 1), rtol=0, atol=1e-5)
    above = s.diagonal() + big_a.square() @ variance
    torch.testing.assert_close(std[0], torch.cat([variance, above]).sqrt(), rtol=0, atol=1e-5)


def _nonlinear(sizes=(3, 2, 2)):
    torch.manual_seed(0)
    settings = {"latent_dims": sizes, "sizes_between": (8,), "image_shape": SHAPE}
    return HierarchicalVAE(MLP((8,), (8,)), Laplace(), **settings)


def test_density_and_moments_of_three_layers_agree_with_draws():
    model = _nonlinear().double()
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    with torch.no_grad():
        posterior = model.encode(x)
    check_density(posterior, torch.randn(5, 4, 7, dtype=torch.float64))
    check_moments(posterior, 7, tolerance=0.02)


def _check_gradient():
    model = _nonlinear((2, 1)).double()
    x = torch.ones(50, *SHAPE, dtype=torch.float64)
    encoder = [*model.encoder.parameters(), *model.head.parameters(), *model.upwards.parameters()]
    prior = model.prior.requires_grad_(False)
    check_doubly_reparameterized_gradient(encoder, lambda: model.encode(x), 3, prior)


@pytest.mark.slow
def test_the_doubly_reparameterized_gradient_has_the_mean_of_the_standard_one():
    _check_gradient()


@pytest.mark.slow
def test_a_posterior_that_is_not_detached_is_caught(monkeypatch):
    monkeypatch.setattr(HierarchicalPosterior, "detach", lambda self: self)
    with pytest.raises(AssertionError):
        _check_gradient()


def test_objectives_work_except_those_that_are_not_defined():
    check_objectives(_nonlinear(), refused=("TCVAE", "FreeBits", "MMD"))


@pytest.mark.parametrize(
    "objective", ["model/objective=tcvae", "model/objective=free_bits", "model/objective=mmd"]
)
def test_an_undefined_objective_is_refused_on_the_command_line(objective):
    assert "or another objective" in fault_of(*RUN, objective)


def test_a_single_layer_is_refused():
    assert "at least 2 items" in fault_of("model=hierarchical_vae", "model.latent_dims=[5]")


def test_only_codes_of_the_first_layer_are_decoded():
    model = _nonlinear()
    z = torch.randn(4, 7)
    other = torch.cat([z[:, :3], torch.randn(4, 4)], 1)
    torch.testing.assert_close(model.decode(z), model.decode(other))


@pytest.mark.slow
def test_a_run_is_evaluated_predicts_and_exports(trained, without_plot_files, tmp_path):
    path = trained(*RUN).path
    (found,) = evaluate([str(path)], tmp_path, checkpoint="best", images=5, samples=50, seed=0)
    total = found["rate_1"]["mean"] + found["rate_2"]["mean"]
    assert total == pytest.approx(found["rate"]["mean"], rel=1e-4)
    assert len(found["latent"]["active_units_by_layer"]) == 2
    page = (path / "report.html").read_text()
    assert "rate 2" in page
    assert "of z₁ at a time" in page
    moved = predict("traverse", str(path), tmp_path, checkpoint="best", input="prior")
    with np.load(moved) as arrays:
        assert arrays["z"].shape == (4, 7, 6)
    assert predict("sample", str(path), tmp_path, checkpoint="best", input="test").exists()
    run = load_run(path)
    export_run(run, tmp_path / "export")
    x = torch.randn(3, 1, 28, 28)
    mu, std = torch.export.load(tmp_path / "export" / "encode.pt2").module()(x)
    torch.testing.assert_close((mu, std), tuple(run.model.encode(x)))
