"""Objectives against closed forms, Monte Carlo and finite differences."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from musigma.objectives import (
    ELBO,
    IWAE,
    MMD,
    TCVAE,
    Capacity,
    FreeBits,
    Objective,
    Reconstruction,
)
from musigma.objectives.divergences import (
    kl_to_standard_normal,
    log_normal,
    log_standard_normal,
    mmd_to_standard_normal,
)
from musigma.objectives.iwae import log_mean_exp
from musigma.objectives.schedules import Constant, Linear
from musigma.objectives.tcvae import decompose
from oracles import normal_draw

PRIOR = Normal(0.0, 1.0)
ALL = [Reconstruction(), ELBO(), IWAE(), FreeBits(), Capacity(), TCVAE(), MMD(), MMD(alpha=0.0)]


def _draw(samples=4, batch=6, d=3, dtype=torch.float64):
    torch.manual_seed(0)
    mu = torch.randn(batch, d, dtype=dtype)
    std = torch.rand(batch, d, dtype=dtype) + 0.1
    z = mu + std * torch.randn(samples, batch, d, dtype=dtype)
    return normal_draw(-800 + torch.randn(samples, batch, dtype=dtype), z, mu, std, 1000)


@pytest.fixture
def draw():
    return _draw()


def _rate(draw):
    return kl_divergence(Normal(*draw.posterior), PRIOR)


def test_kl_equals_torch_distributions(draw):
    torch.testing.assert_close(kl_to_standard_normal(*draw.posterior), _rate(draw))


def test_kl_equals_monte_carlo():
    torch.manual_seed(0)
    mu, std = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    z = Normal(mu, std).sample((1_000_000,))
    estimate = (Normal(mu, std).log_prob(z) - PRIOR.log_prob(z)).mean()
    assert kl_to_standard_normal(mu, std).item() == pytest.approx(estimate.item(), abs=0.005)


def test_kl_gradient_equals_finite_differences():
    inputs = (
        torch.randn(4, 2, dtype=torch.float64, requires_grad=True),
        (torch.rand(4, 2, dtype=torch.float64) + 0.1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(kl_to_standard_normal, inputs)


def test_log_densities_equal_torch_distributions(draw):
    expected = Normal(*draw.posterior).log_prob(draw.z).sum(-1)
    torch.testing.assert_close(log_normal(draw.z, *draw.posterior), expected)
    torch.testing.assert_close(log_standard_normal(draw.z), PRIOR.log_prob(draw.z).sum(-1))


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_std_at_its_floor_gives_finite_losses_and_gradients(objective):
    mu = torch.randn(6, 3, requires_grad=True)
    std = torch.full((6, 3), 1e-6, requires_grad=True)
    z = mu + std * torch.randn(objective.samples, 6, 3)
    loss = objective(normal_draw(-z.square().sum(-1), z, mu, std, 1000), 0).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(mu.grad).all()
    assert std.grad is None or torch.isfinite(std.grad).all()


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_float32_agrees_with_float64(objective):
    double = _draw(objective.samples)
    parts = (double.log_likelihood, double.z, *double.posterior)
    single = normal_draw(*(value.float() for value in parts), 1000)
    expected = objective(double, 0).loss.item()
    assert objective(single, 0).loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_every_term_speaks_of_single_images(objective, draw):
    terms = objective(draw, 0).terms
    assert all(term.shape == (6,) for term in terms.values())
    torch.testing.assert_close(terms["distortion"], -draw.log_likelihood.mean(0))
    torch.testing.assert_close(terms["rate"], _rate(draw).sum(1))
    if "elbo" in terms:
        torch.testing.assert_close(terms["elbo"], -(terms["distortion"] + terms["rate"]))


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_minimises_distortion_plus_beta_times_rate(draw, beta):
    loss, terms, settings = ELBO(beta=beta, samples=4)(draw, step=0)
    torch.testing.assert_close(loss, (terms["distortion"] + beta * _rate(draw).sum(1)).mean())
    assert settings == {"beta": beta}


def test_reconstruction_does_not_weigh_the_rate(draw):
    loss, terms, _ = Reconstruction(samples=4)(draw, step=0)
    torch.testing.assert_close(loss, -draw.log_likelihood.mean())
    assert set(terms) == {"distortion", "rate"}


@pytest.mark.parametrize("objective", [Reconstruction(), MMD()])
def test_a_point_has_no_rate(draw, objective):
    assert not objective.needs_rate
    terms = objective(
        normal_draw(draw.log_likelihood, draw.z, draw.posterior.mu, None, 1000), 0
    ).terms
    assert "rate" not in terms
    assert "elbo" not in terms


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        (ELBO(beta=Linear(steps=10, end=2.0)), "beta"),
        (TCVAE(beta=Linear(steps=10, end=2.0)), "beta"),
        (Capacity(capacity=Linear(steps=10, end=2.0)), "capacity"),
    ],
)
def test_schedules_are_followed_and_the_target_is_not_moved_by_them(draw, objective, name):
    seen = [objective(draw, step) for step in (0, 5, 10)]
    assert [loss.settings[name] for loss in seen] == [0, 1, 2]
    assert objective.monitor == "target"
    for loss in seen:
        torch.testing.assert_close(loss.terms["target"], seen[2].terms["target"])
    torch.testing.assert_close(seen[2].terms["target"].mean(), seen[2].loss)
    assert seen[0].loss != seen[2].loss


def test_iwae_with_one_sample_is_the_elbo_with_its_rate_from_z():
    draw = _draw(samples=1)
    rate = Normal(*draw.posterior).log_prob(draw.z) - PRIOR.log_prob(draw.z)
    expected = (-draw.log_likelihood[0] + rate[0].sum(-1)).mean()
    torch.testing.assert_close(IWAE(samples=1)(draw, 0).loss, expected)


def test_iwae_is_minus_log_mean_weight(draw):
    q = Normal(*draw.posterior).log_prob(draw.z).sum(-1)
    weights = (draw.log_likelihood + 800 + PRIOR.log_prob(draw.z).sum(-1) - q).exp()
    expected = -(weights.mean(0).log() - 800).mean()
    torch.testing.assert_close(IWAE(samples=4)(draw, 0).loss, expected)


def test_log_mean_exp_survives_weights_that_exp_does_not():
    log_w = torch.tensor([-1000.0, -1001.0, -1002.0])
    expected = -1000 + math.log((1 + math.exp(-1) + math.exp(-2)) / 3)
    assert log_mean_exp(log_w).item() == pytest.approx(expected)


def _encoder_gradient(gradient, noise, w):
    """d IWAE / d(mu, log std) for p(x|z) = exp(−½ (w z − 1)²), K draws, many images at once."""
    mu = torch.full((noise.shape[1], 1), 0.3, dtype=torch.float64, requires_grad=True)
    log_std = torch.full_like(mu, -0.2).detach().requires_grad_()
    z = mu + log_std.exp() * noise
    log_likelihood = -0.5 * (w * z - 1).square().sum(-1)
    draw = normal_draw(log_likelihood, z, mu, log_std.exp(), 1000)
    loss = IWAE(samples=len(noise), gradient=gradient)(draw, 0).loss
    loss.backward()
    return loss.detach(), torch.cat([mu.grad, log_std.grad], 1) * noise.shape[1]


def test_doubly_reparameterized_gradient_has_the_same_mean_and_less_variance():
    torch.manual_seed(0)
    noise = torch.randn(16, 40_000, 1, dtype=torch.float64)
    w = torch.tensor(2.0, dtype=torch.float64)
    value, standard = _encoder_gradient("standard", noise, w)
    same_value, doubly = _encoder_gradient("doubly_reparameterized", noise, w)
    assert same_value == pytest.approx(value.item())
    error = ((standard.var(0) + doubly.var(0)) / 40_000).sqrt()
    assert torch.all((standard.mean(0) - doubly.mean(0)).abs() < 4 * error)
    assert torch.all(doubly.var(0) < 0.5 * standard.var(0))


def test_doubly_reparameterized_leaves_the_decoders_gradient_alone():
    torch.manual_seed(0)
    noise = torch.randn(16, 50, 1, dtype=torch.float64)
    gradients = []
    for gradient in ("standard", "doubly_reparameterized"):
        w = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        _encoder_gradient(gradient, noise, w)
        gradients.append(w.grad)
    torch.testing.assert_close(*gradients)


def test_importance_weights_are_not_turned_over(draw):
    q = Normal(*draw.posterior).log_prob(draw.z).sum(-1)
    expected = draw.log_likelihood + PRIOR.log_prob(draw.z).sum(-1) - q
    torch.testing.assert_close(draw.log_weights(), expected)


def test_free_bits_pay_for_what_is_above_the_floor_of_each_dimension(draw):
    per_dimension = _rate(draw).mean(0)
    floor = per_dimension.median().item()
    loss, terms, _ = FreeBits(floor=floor, samples=4)(draw, 0)
    paid = sum(max(floor, value) for value in per_dimension.tolist())
    assert loss.item() == pytest.approx(terms["distortion"].mean().item() + paid)


def test_free_bits_of_nothing_are_the_elbo(draw):
    expected = ELBO(samples=4)(draw, 0).loss
    torch.testing.assert_close(FreeBits(floor=0.0, samples=4)(draw, 0).loss, expected)


@pytest.mark.parametrize("capacity", [0.0, 3.0, 50.0])
def test_capacity_pays_for_the_distance_to_it(draw, capacity):
    loss, terms, _ = Capacity(capacity=capacity, gamma=7.0, samples=4)(draw, 0)
    distance = abs(_rate(draw).sum(1).mean().item() - capacity)
    assert loss.item() == pytest.approx(terms["distortion"].mean().item() + 7 * distance)


def test_tcvae_at_one_is_the_elbo_with_its_rate_from_z(draw):
    rate = (Normal(*draw.posterior).log_prob(draw.z) - PRIOR.log_prob(draw.z)).sum(-1).mean(0)
    expected = (-draw.log_likelihood.mean(0) + rate).mean()
    torch.testing.assert_close(TCVAE(beta=1.0, samples=4)(draw, 0).loss, expected)
    torch.testing.assert_close(sum(decompose(draw)), rate)


def test_tcvae_terms_are_those_of_the_mixture_when_the_batch_is_the_data_set():
    """With every image in the batch, MWS is the exact mixture but for its factor 1/B."""
    torch.manual_seed(0)
    batch = 40
    mu = torch.randn(batch, 2, dtype=torch.float64)
    std = torch.full_like(mu, 0.3)
    z = mu + std * torch.randn(2000, batch, 2, dtype=torch.float64)
    draw = normal_draw(torch.zeros(2000, batch), z, mu, std, 1)
    information, correlation, dimension_wise = (term.mean().item() for term in decompose(draw))
    grid = np.linspace(-6, 6, 601)
    densities = np.exp(-0.5 * ((grid - mu.numpy()[:, :, None]) / 0.3) ** 2) / (
        0.3 * math.sqrt(2 * math.pi)
    )  # [batch, 2, grid]
    joint = np.einsum("bi,bj->ij", densities[:, 0], densities[:, 1]) / batch
    marginals = densities.mean(0)
    step = grid[1] - grid[0]
    product = np.outer(marginals[0], marginals[1])
    tc = (joint * np.log(np.maximum(joint, 1e-300) / np.maximum(product, 1e-300))).sum() * step**2
    prior = np.exp(-0.5 * grid**2) / math.sqrt(2 * math.pi)
    dw = sum((m * np.log(np.maximum(m, 1e-300) / prior)).sum() * step for m in marginals)
    entropy = -(joint * np.log(np.maximum(joint, 1e-300))).sum() * step**2
    mi = entropy - 2 * (0.5 * math.log(2 * math.pi * math.e * 0.3**2))
    assert correlation == pytest.approx(tc, abs=0.02)
    assert dimension_wise == pytest.approx(dw, abs=0.02)
    assert information == pytest.approx(mi, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("squared_width", [0.5, 4.0])
def test_mmd_equals_numerical_integration_over_the_prior(squared_width):
    torch.manual_seed(0)
    z = 0.5 + 0.7 * torch.randn(300, 2, dtype=torch.float64).numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def kernel(a, b):  # [..., 2] each
        return np.exp(-((a - b) ** 2).sum(-1) / (2 * squared_width))

    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    mass = np.outer(weights, weights).reshape(-1)
    to_prior = kernel(z[:, None], grid[None]) @ mass
    within_prior = mass @ kernel(grid[:, None], grid[None]) @ mass
    among = kernel(z[:, None], z[None])
    among = (among.sum() - len(z)) / (len(z) * (len(z) - 1))
    expected = among - 2 * to_prior.mean() + within_prior
    found = mmd_to_standard_normal(torch.from_numpy(z), squared_width).item()
    assert found == pytest.approx(expected, abs=1e-9)


def test_mmd_of_the_prior_itself_is_zero_on_average():
    torch.manual_seed(0)
    values = torch.stack([mmd_to_standard_normal(torch.randn(64, 3), 3.0) for _ in range(500)])
    assert abs(values.mean()) < 4 * values.std() / 500**0.5


def test_mmd_weighs_rate_and_discrepancy_as_in_info_vae(draw):
    loss, terms, _ = MMD(alpha=0.25, weight=10.0, squared_width=2.0, samples=4)(draw, 0)
    discrepancy = mmd_to_standard_normal(draw.z.flatten(0, 1), 6.0)
    expected = terms["distortion"].mean() + 0.75 * _rate(draw).sum(1).mean() + 9.25 * discrepancy
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELBO(beta=-1),
        lambda: ELBO(beta=float("nan")),
        lambda: ELBO(samples=0),
        lambda: Reconstruction(samples=0),
        lambda: IWAE(samples=0),
        lambda: IWAE(gradient="triple"),
        lambda: FreeBits(floor=-0.1),
        lambda: Capacity(capacity=-1.0),
        lambda: Capacity(gamma=-1.0),
        lambda: TCVAE(beta=-1.0),
        lambda: TCVAE(alpha=-1.0),
        lambda: MMD(alpha=1.5),
        lambda: MMD(alpha=0.0, weight=0.5),
        lambda: MMD(squared_width=0.0),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="Input should be|must be"):
        make()


def test_a_weight_is_a_schedule_once_it_is_checked():
    assert ELBO(beta=4).beta == Constant(4.0)
    assert ELBO().beta == Constant(1.0)
    assert ELBO(beta=4).monitor == "loss"
    assert Capacity(capacity=Linear(10)).capacity == Linear(10)


def test_an_objective_may_be_a_module_with_weights_and_a_schedule():
    class Learned(torch.nn.Module, Objective):
        def __init__(self):
            super().__init__()
            self.weight = Linear(10)
            self.critic = torch.nn.Linear(2, 1)

        def forward(self, draw, step):
            return self.weight(step)

    learned = Learned()
    assert isinstance(learned, Objective)
    assert (learned.samples, learned.needs_rate, learned.uses_prior) == (1, True, True)
    assert learned.monitor == "target"
    assert learned(None, 5) == 0.5
    assert len([*learned.parameters()]) == 2
