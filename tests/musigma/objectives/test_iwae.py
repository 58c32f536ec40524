"""The importance-weighted bound and its doubly reparameterised gradient."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal

from compiling import check_gradients, one_graph, traced  # noqa: F401
from musigma.data import MNISTDataModule
from musigma.metrics import meanings
from musigma.models import MLP, Autoencoder
from musigma.models.posteriors import NormalPosterior
from musigma.objectives import ELBO, Draw, iwae
from musigma.objectives.iwae import IWAE
from musigma.objectives.likelihoods import Laplace
from objectives import (
    CHECKS,
    STANDARD,
    check_it_trains_a_prior,
    check_refusals,
    draw_of,
    draw_under_a_learned_prior,
)
from oracles import LinearGaussian, normal_draw
from stacking import check_left_alone
from traps import trap_tests
from workbench.errors import ConfigError

DOUBLY = IWAE(gradient="doubly_reparameterized")


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_the_doubly_reparameterized_gradient_passes_the_checks_of_every_objective(check):
    check(DOUBLY)


@pytest.mark.parametrize("objective", [IWAE(), DOUBLY], ids=lambda o: o.gradient)
def test_both_gradients_train_a_learned_prior(objective):
    check_it_trains_a_prior(objective)


def test_iwae_with_one_sample_is_the_elbo_with_its_rate_from_z():
    draw = draw_of(samples=1)
    rate = Normal(*draw.posterior).log_prob(draw.z) - STANDARD.log_prob(draw.z)
    expected = (-draw.log_likelihood[0] + rate[0].sum(-1)).mean()
    torch.testing.assert_close(IWAE(samples=1)(draw, 0).loss, expected)


def test_the_loss_is_minus_the_log_of_the_mean_weight(draw):
    q = Normal(*draw.posterior).log_prob(draw.z).sum(-1)
    weights = (draw.log_likelihood + 800 + STANDARD.log_prob(draw.z).sum(-1) - q).exp()
    expected = -(weights.mean(0).log() - 800).mean()
    torch.testing.assert_close(IWAE(samples=4)(draw, 0).loss, expected)


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


def test_the_doubly_reparameterized_gradient_has_the_same_mean_and_less_variance():
    torch.manual_seed(0)
    noise = torch.randn(16, 40_000, 1, dtype=torch.float64)
    w = torch.tensor(2.0, dtype=torch.float64)
    value, standard = _encoder_gradient("standard", noise, w)
    same_value, doubly = _encoder_gradient("doubly_reparameterized", noise, w)
    assert same_value == pytest.approx(value.item())
    error = ((standard.var(0) + doubly.var(0)) / 40_000).sqrt()
    assert torch.all((standard.mean(0) - doubly.mean(0)).abs() < 4 * error)
    assert torch.all(doubly.var(0) < 0.5 * standard.var(0))


def test_the_doubly_reparameterized_gradient_refuses_penalties(draw):
    with pytest.raises(ConfigError, match="the model's sparsity: use gradient=standard"):
        DOUBLY(replace(draw, penalties={"sparsity": draw.z.abs().sum(-1).mean(0)}), 0)


def test_the_doubly_reparameterized_gradient_of_the_decoder_is_the_standard_one():
    torch.manual_seed(0)
    noise = torch.randn(16, 50, 1, dtype=torch.float64)
    gradients = []
    for gradient in ("standard", "doubly_reparameterized"):
        w = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        _encoder_gradient(gradient, noise, w)
        gradients.append(w.grad)
    torch.testing.assert_close(*gradients)


def test_iwae_with_one_sample_under_a_learned_prior_is_the_elbo():
    draw = draw_under_a_learned_prior(samples=1).draw
    torch.testing.assert_close(IWAE(samples=1)(draw, 0).loss, ELBO()(draw, 0).loss)


def test_the_doubly_reparameterized_gradient_of_a_learned_prior_is_the_standard_one():
    gradients = []
    for gradient in ("standard", "doubly_reparameterized"):
        found = draw_under_a_learned_prior(samples=16)
        IWAE(gradient=gradient)(found.draw, 0).loss.backward()
        gradients.append([weight.grad for weight in found.weights])
    torch.testing.assert_close(*gradients)


def test_settings_out_of_range_are_refused():
    check_refusals(lambda: IWAE(samples=0), lambda: IWAE(gradient="triple"))


# --- against log p(x), and traps -----------------------------------------------------------------


def _bound(model, x, samples, repeats=200):
    """The mean of many repetitions of IWAE-K for each image, and its standard error."""
    torch.manual_seed(0)
    mu, std = model.encode(x)
    bounds = []
    for _ in range(repeats):
        z = mu + std * torch.randn(samples, *mu.shape, dtype=torch.float64)
        draw = normal_draw(model.likelihood.log_prob(x, model.decode(z)), z, mu, std, len(x))
        bounds.append(IWAE(samples=samples)(draw, 0).terms["iwae"].detach())
    bounds = torch.stack(bounds)
    return bounds.mean(0), bounds.std(0) / repeats**0.5


@pytest.mark.slow
def test_bounds_rise_with_k_from_the_elbo_to_log_p():
    oracle = LinearGaussian()
    shift, stretch = 0.4, 1.3
    model = oracle.model(shift, stretch)
    means = [_bound(model, oracle.x, samples) for samples in (1, 3, 10, 50)]
    values = [mean.mean().item() for mean, _ in means]
    errors = [(error.square().mean() / len(oracle.x)).sqrt().item() for _, error in means]
    log_p, elbo = oracle.log_p().mean().item(), oracle.elbo(shift, stretch).mean().item()
    assert values[0] == pytest.approx(elbo, abs=4 * errors[0])
    for lower, upper, error in zip(values, [*values[1:], log_p], errors, strict=True):
        assert lower < upper + 4 * error
    assert values[0] < values[1] < values[2] < values[3]
    assert values[3] == pytest.approx(log_p, abs=0.02)


def check_bound():
    """With an inexact posterior, IWAE-50 is below log p(x) and close to it."""
    oracle = LinearGaussian(count=2000)
    model = oracle.model(0.4, 1.3)
    torch.manual_seed(0)
    mu, std = model.encode(oracle.x)
    z = mu + std * torch.randn(50, *mu.shape, dtype=torch.float64)
    draw = normal_draw(model.likelihood.log_prob(oracle.x, model.decode(z)), z, mu, std, 2000)
    loss, terms, _ = IWAE(samples=50)(draw, 0)
    gap = (oracle.log_p() - terms["iwae"]).mean().item()
    assert -0.005 < gap < 0.02
    assert loss.item() == pytest.approx(-terms["iwae"].mean().item())


def check_doubly_reparameterized_gradient():
    """The encoder's gradient has the mean of the standard estimator's."""
    torch.manual_seed(0)
    noise = torch.randn(16, 20_000, 1, dtype=torch.float64)
    gradients = []
    for gradient in ("standard", "doubly_reparameterized"):
        mu = torch.full((20_000, 1), 0.3, dtype=torch.float64, requires_grad=True)
        log_std = torch.full((20_000, 1), -0.2, dtype=torch.float64, requires_grad=True)
        z = mu + log_std.exp() * noise
        draw = normal_draw(-0.5 * (2 * z - 1).square().sum(-1), z, mu, log_std.exp(), 1)
        IWAE(samples=16, gradient=gradient)(draw, 0).loss.backward()
        gradients.append(20_000 * torch.cat([mu.grad, log_std.grad], 1))
    error = sum(g.var(0) for g in gradients).div(20_000).sqrt()
    assert torch.all((gradients[0].mean(0) - gradients[1].mean(0)).abs() < 4 * error)


def missing_logsumexp(patch):
    patch.setattr(iwae, "log_mean_exp", lambda log_w: log_w.mean(0))


def weighted_sum_of_log_weights(patch):
    patch.setattr(iwae, "log_mean_exp", lambda log_w: (log_w.softmax(0) * log_w).sum(0))


def forgotten_log_k(patch):
    patch.setattr(iwae, "log_mean_exp", lambda log_w: log_w.logsumexp(0))


def log_weights_with_the_wrong_sign(patch):
    right = Draw.log_weights
    patch.setattr(Draw, "log_weights", lambda self: -right(self))


def weights_not_detached(patch):
    def wrong(log_w, z):
        weights = log_w.softmax(0)
        z.register_hook(lambda gradient: weights.detach().unsqueeze(-1) * gradient)
        return -(weights * log_w).sum(0).mean()

    patch.setattr(iwae, "_doubly_reparameterized", wrong)


def posterior_not_detached(patch):
    patch.setattr(NormalPosterior, "detach", lambda self: self)


TRAPS = {
    missing_logsumexp: check_bound,
    weighted_sum_of_log_weights: check_bound,
    forgotten_log_k: check_bound,
    log_weights_with_the_wrong_sign: check_bound,
    weights_not_detached: check_doubly_reparameterized_gradient,
    posterior_not_detached: check_doubly_reparameterized_gradient,
}
test_oracles_hold, test_trap_is_caught = trap_tests(TRAPS)
test_oracles_hold = pytest.mark.slow(test_oracles_hold)


def test_bounds_compare_only_for_the_same_number_of_samples():
    """More samples make a tighter bound, not a better model."""
    data, model = MNISTDataModule(source="sample"), Autoencoder(MLP((8,), (8,)), Laplace())
    config = {"model": {"likelihood": {}, "objective": {}}}

    def scales(samples):
        parts = SimpleNamespace(model=model, objective=IWAE(samples=samples))
        found = meanings(config, parts, data)
        return {name: found.of(name).of for name in ("iwae", "iwae_unit", "elbo")}

    one, five = scales(1), scales(5)
    assert {name for name in one if one[name] != five[name]} == {"iwae", "iwae_unit"}


@one_graph
@pytest.mark.slow
@pytest.mark.usefixtures("traced")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # by torch
def test_a_compiled_step_has_the_gradient_of_a_plain_one(monkeypatch):
    check_gradients(replace(DOUBLY, samples=4), monkeypatch)


@pytest.mark.slow
def test_a_run_whose_gradient_is_changed_by_hooks_is_not_stacked(jobs, capsys):
    check_left_alone(jobs, ("model=dreg_iwae",), capsys, "its gradient would differ")
