"""The flow prior against a change of variables by automatic differentiation."""

import math
import sys

import pytest
import torch
from torch.distributions import Normal

from extras import needs
from musigma.models import MLP, Autoencoder
from musigma.models.priors.flow import Flow
from musigma.objectives.likelihoods import Laplace
from musigma.seeding import normal_noise
from oracles import LinearGaussian
from priors import LearnedPrior, check_draws_follow_the_density, check_log_p, check_rate
from traps import trap_tests
from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line

needs_zuko = needs("zuko")


def nonlinear(model):
    """A flow prior that is far from the identity."""
    prior = Flow(model, transforms=2, hidden_sizes=(16,))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.35 * torch.randn(parameter.shape, generator=generator))
    return prior


def linear_model(d=2, recipe=nonlinear):
    oracle = LinearGaussian(d, count=40)
    return oracle, oracle.model(stretch=1.5, prior=recipe)


def change_of_variables(prior, z):
    """Log N(f(z); 0, I) + log |det ∂f/∂z|, the latter by automatic differentiation, `[N]`."""

    def f(one):
        return prior.flow().transform(one)

    jacobians = torch.stack([torch.autograd.functional.jacobian(f, one) for one in z])
    base = Normal(0.0, 1.0).log_prob(f(z)).sum(-1)
    return (base + torch.linalg.slogdet(jacobians).logabsdet).detach()


def check_density():
    for d in (1, 2, 3):
        prior = linear_model(d)[1].prior
        z = 1.5 * torch.randn(20, d, generator=torch.Generator().manual_seed(0)).double()
        torch.testing.assert_close(prior.log_prob(z).detach(), change_of_variables(prior, z))


def check_draws():
    for d in (1, 2):
        check_draws_follow_the_density(linear_model(d)[1].prior)


def check_rates():
    oracle, model = linear_model(1)
    check_rate(model, oracle.x)


@needs_zuko
class TestFlow(LearnedPrior):
    name = "flow"
    small_settings = ("model.prior.transforms=2", "model.prior.hidden_sizes=[8]")
    recipe = staticmethod(nonlinear)


@needs_zuko
@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_flow_prior_starts_as_the_standard_normal(d):
    torch.manual_seed(0)
    model = Autoencoder(MLP([8], [8]), Laplace(), latent_dim=d, prior=Flow)
    z = 2 * torch.randn(50, d)
    expected = Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(model.prior.log_prob(z), expected)
    draws = model.prior.sample(50, seed=4)
    torch.testing.assert_close(draws, normal_noise(50, d, seed=4), rtol=0, atol=1e-4)


@needs_zuko
@pytest.mark.parametrize("d", [1, 2])
def test_both_estimators_find_log_p_of_a_linear_decoder(d):
    """The oracle is ∫ p(x|z) p(z) dz by a plain sum over a fine grid."""
    oracle, model = linear_model(d)
    axis = torch.linspace(-7, 7, 4001 if d == 1 else 401, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    with torch.no_grad():
        log_p_z = model.prior.log_prob(grid)
    means = grid @ oracle.w.T + oracle.b
    squares = torch.cdist(oracle.flat[::4], means).square()
    variance = oracle.sigma**2
    log_p_x = -0.5 * (squares / variance + 12 * math.log(2 * math.pi * variance))
    log_p = (log_p_x + log_p_z).logsumexp(1) + d * (axis[1] - axis[0]).log()
    check_log_p(model, oracle.x[::4], log_p, atol=3e-3)


@needs_zuko
@pytest.mark.parametrize("d", [1, 2])
def test_a_flow_prior_trained_on_a_ring_fits_better_than_a_gaussian(d):
    torch.manual_seed(0)
    angle = 2 * torch.pi * torch.rand(2000, 1)
    data = 2 * torch.cat([angle.cos(), angle.sin()], 1)[:, :d] + 0.1 * torch.randn(2000, d)
    model = Autoencoder(MLP([8], [8]), Laplace(), latent_dim=d)
    prior = Flow(model, transforms=2, hidden_sizes=(32,))
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        loss = -prior.log_prob(data).mean()
        loss.backward()
        optimizer.step()
    gaussian = -Normal(data.mean(0), data.std(0)).log_prob(data).sum(1).mean()
    assert loss < gaussian - (0.1 if d == 1 else 0.8)


def test_without_the_extra_a_flow_prior_is_refused_before_training(monkeypatch):
    for name in ("zuko", "zuko.flows"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as error:
        read_command_line("train", ["model=vae", "model/prior=flow"])
    (line,) = str(error.value).splitlines()
    assert line.endswith("the flow prior needs the extra flows: pip install -e '.[flows]'")


# --- traps -------------------------------------------------------------------------------------


def log_determinant_with_the_wrong_sign(patch):
    def wrong(self, z):
        u, log_det = self.flow().transform.call_and_ladj(z)
        return Normal(0.0, 1.0).log_prob(u).sum(-1) - log_det

    patch.setattr(Flow, "log_prob", wrong)


def log_determinant_forgotten(patch):
    def wrong(self, z):
        return Normal(0.0, 1.0).log_prob(self.flow().transform(z)).sum(-1)

    patch.setattr(Flow, "log_prob", wrong)


def drawn_from_the_standard_normal(patch):
    patch.setattr(
        Flow, "sample", lambda self, count, seed: normal_noise(count, self.latent_dim, seed=seed)
    )


def drawn_through_the_flow_the_wrong_way(patch):
    def wrong(self, count, *, seed):
        noise = normal_noise(count, self.latent_dim, seed=seed).to(next(self.parameters()))
        return self.flow().transform(noise).detach().float()

    patch.setattr(Flow, "sample", wrong)


def held_to_the_standard_normal(patch):
    wrong = lambda self, draw: draw.posterior.rate_to_standard_normal()  # noqa: E731
    patch.setattr(Flow, "rate", wrong)


TRAPS = {
    log_determinant_with_the_wrong_sign: check_density,
    log_determinant_forgotten: check_draws,
    drawn_from_the_standard_normal: check_draws,
    drawn_through_the_flow_the_wrong_way: check_draws,
    held_to_the_standard_normal: check_rates,
}


test_oracles_hold, test_trap_is_caught = map(needs_zuko, trap_tests(TRAPS))
