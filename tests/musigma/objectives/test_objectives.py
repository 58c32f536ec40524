"""Objectives against closed forms, Monte Carlo and finite differences."""

import math

import pytest
import torch
from torch.distributions import Normal

from musigma.objectives import ELBO, Objective, Reconstruction
from musigma.objectives.divergences import (
    kl_to_standard_normal,
    log_mean_exp,
    log_normal,
    log_standard_normal,
)
from musigma.objectives.schedules import Constant, Linear
from objectives import (
    CHECKS,
    FUNCTIONS,
    STANDARD,
    check_a_point_has_no_rate,
    check_refusals,
    check_schedule,
    rate_of,
)


def test_kl_equals_torch_distributions(draw):
    torch.testing.assert_close(kl_to_standard_normal(*draw.posterior), rate_of(draw))


def test_kl_equals_monte_carlo():
    torch.manual_seed(0)
    mu, std = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    z = Normal(mu, std).sample((1_000_000,))
    estimate = (Normal(mu, std).log_prob(z) - STANDARD.log_prob(z)).mean()
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
    torch.testing.assert_close(log_standard_normal(draw.z), STANDARD.log_prob(draw.z).sum(-1))


@pytest.mark.parametrize("objective", FUNCTIONS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_every_objective_passes_the_common_checks(check, objective):
    check(objective)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_minimises_distortion_plus_beta_times_rate(draw, beta):
    loss, terms, settings = ELBO(beta=beta, samples=4)(draw, step=0)
    torch.testing.assert_close(loss, (terms["distortion"] + beta * rate_of(draw).sum(1)).mean())
    assert settings == {"beta": beta}


def test_reconstruction_does_not_weigh_the_rate(draw):
    loss, terms, _ = Reconstruction(samples=4)(draw, step=0)
    torch.testing.assert_close(loss, -draw.log_likelihood.mean())
    assert set(terms) == {"distortion", "rate"}


def test_log_mean_exp_does_not_underflow():
    log_w = torch.tensor([-1000.0, -1001.0, -1002.0])
    expected = -1000 + math.log((1 + math.exp(-1) + math.exp(-2)) / 3)
    assert log_mean_exp(log_w).item() == pytest.approx(expected)


def test_importance_weights_have_the_right_sign(draw):
    q = Normal(*draw.posterior).log_prob(draw.z).sum(-1)
    expected = draw.log_likelihood + STANDARD.log_prob(draw.z).sum(-1) - q
    torch.testing.assert_close(draw.log_weights(), expected)


def test_a_constant_weight_becomes_a_schedule():
    assert ELBO(beta=4).beta == Constant(4.0)
    assert ELBO().beta == Constant(1.0)
    assert ELBO(beta=4).monitor == "loss"


def test_an_objective_can_be_a_module_with_weights_and_a_schedule():
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


def test_reconstruction_reports_no_rate_of_a_point():
    check_a_point_has_no_rate(Reconstruction())


def test_the_loss_follows_a_schedule_and_the_target_does_not():
    check_schedule(ELBO(beta=Linear(steps=10, end=2.0)), "beta")


def test_settings_out_of_range_are_refused():
    check_refusals(
        lambda: ELBO(beta=-1),
        lambda: ELBO(beta=float("nan")),
        lambda: ELBO(samples=0),
        lambda: Reconstruction(samples=0),
    )


def test_the_prior_is_used_if_beta_ends_above_zero():
    assert ELBO(beta=0.1).uses_prior
    assert not ELBO(beta=0).uses_prior
    assert ELBO(beta=Linear(steps=10)).uses_prior
    assert not ELBO(beta=Linear(steps=10, start=1.0, end=0.0)).uses_prior
