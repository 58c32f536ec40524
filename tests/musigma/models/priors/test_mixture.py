"""The mixture prior against torch.distributions, and p(x) as a mixture of Gaussians."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from musigma.evaluation import quadrature_estimate
from musigma.models.priors.mixture import Mixture
from musigma.objectives.divergences import kl_to_standard_normal, log_normal
from musigma.seeding import normal_noise
from oracles import PIXELS, LinearGaussian
from posteriors import fault_of
from priors import (
    LearnedPrior,
    assert_distributed_as,
    check_draws_follow_the_density,
    check_log_p,
    check_rate,
)
from traps import trap_tests


def uneven(model, components=4, scale=1.0):
    """A mixture prior whose components differ in weight and scale."""
    prior = Mixture(model, components=components, spread=1.5)
    with torch.no_grad():
        prior.logits.copy_(torch.linspace(-1, 1, components))
        stds = scale * torch.linspace(0.3, 0.9, components).unsqueeze(1)
        prior.raw_stds.copy_(stds.expm1().log().expand_as(prior.raw_stds))
    return prior


def torch_mixture(prior):
    """The same distribution by torch."""
    parts = Independent(Normal(prior.means, prior.stds), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits), parts)


def linear_model(d=2, recipe=uneven):
    torch.manual_seed(1)
    oracle = LinearGaussian(d, count=40)
    return oracle, oracle.model(stretch=1.3, prior=recipe)


def log_p_of_linear(oracle, prior):
    """Σ_k w_k N(x; W m_k + b, W diag(s_k²) Wᵀ + σ² I), by torch in float64."""
    eye = oracle.sigma**2 * torch.eye(PIXELS, dtype=torch.float64)
    covariances = oracle.w @ torch.diag_embed(prior.stds.double().square()) @ oracle.w.T + eye
    parts = MultivariateNormal(prior.means.double() @ oracle.w.T + oracle.b, covariances)
    mixture = MixtureSameFamily(Categorical(logits=prior.logits.double()), parts)
    return mixture.log_prob(oracle.flat).detach()


def check_density():
    """Importance weights and quadrature give the known log p(x)."""
    oracle, model = linear_model()
    log_p = log_p_of_linear(oracle, model.prior)
    check_log_p(model, oracle.x, log_p)


def check_draws():
    torch.manual_seed(1)
    for d in (1, 2):
        check_draws_follow_the_density(uneven(LinearGaussian(d).model()))


def check_rates():
    oracle, model = linear_model(1)
    check_rate(model, oracle.x)


class TestMixture(LearnedPrior):
    name = "mixture"
    small_settings = ("model.prior.components=3",)
    recipe = staticmethod(uneven)

    @pytest.mark.exhaustive
    def test_every_command_works_with_the_prior(self, trained, without_plot_files, tmp_path):
        super().test_every_command_works_with_the_prior(trained, without_plot_files, tmp_path)

    @pytest.mark.exhaustive
    def test_a_sweep_over_the_prior_and_the_standard_normal_completes(self, small, tmp_path):
        super().test_a_sweep_over_the_prior_and_the_standard_normal_completes(small, tmp_path)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_mixture_prior_equals_torchs_mixture(d):
    _, model = linear_model(d)
    prior, expected = model.prior, torch_mixture(model.prior)
    z = 2 * torch.randn(50, 3, d, dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(prior.mean(), expected.mean.detach().float())
    torch.testing.assert_close(prior.std(), expected.stddev.detach().float())
    assert prior.weights.sum().item() == pytest.approx(1)


def test_each_dimension_of_its_samples_has_the_known_distribution():
    _, model = linear_model()
    prior = model.prior
    draws = prior.sample(20_000, seed=2)
    for j in range(2):
        parts = Normal(prior.means[:, j].detach(), prior.stds[:, j].detach())
        marginal = MixtureSameFamily(Categorical(logits=prior.logits.detach()), parts)
        cdf = lambda z, marginal=marginal: marginal.cdf(torch.as_tensor(z)).numpy()  # noqa: E731
        assert_distributed_as(draws[:, j], cdf)


def test_its_box_holds_every_component_however_light():
    _, model = linear_model()
    with torch.no_grad():
        model.prior.logits[0] = -20
        model.prior.means[0] = 30.0
    assert model.prior.half_width() > 32


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.05, 1e-4])
def test_quadrature_over_narrow_components_converges_or_reports_that_it_did_not(scale):
    oracle, model = linear_model(2, lambda model: uneven(model, scale=scale))
    found = quadrature_estimate(model, oracle.x[:10])
    log_p = log_p_of_linear(oracle, model.prior)[:10]
    right = (found.log_p - log_p).abs() < 2e-3
    assert torch.all(right | ~found.converged)
    assert found.converged.all() == (scale == 0.05)


def test_quadrature_in_one_dimension_resolves_a_std_of_a_thousandth():
    oracle, model = linear_model(1, lambda model: uneven(model, scale=1e-3))
    found = quadrature_estimate(model, oracle.x)
    assert found.converged.all()
    log_p = log_p_of_linear(oracle, model.prior)
    torch.testing.assert_close(found.log_p, log_p, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_a_mixture_prior_trained_on_a_mixture_recovers_it():
    """By maximum likelihood: weights, means and scales of two components."""
    torch.manual_seed(0)
    prior = Mixture(LinearGaussian(2).model(), components=2)
    chosen = torch.rand(4000) < 0.7
    far = torch.tensor([[2.0, 0.0], [-2.0, 1.0]])[chosen.long()]
    data = far + torch.tensor([[0.3, 0.5], [0.8, 0.2]])[chosen.long()] * torch.randn(4000, 2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-prior.log_prob(data).mean()).backward()
        optimizer.step()
    order = prior.weights.argsort()
    assert prior.weights[order].tolist() == pytest.approx([0.3, 0.7], abs=0.03)
    assert prior.means[order].flatten().tolist() == pytest.approx([2, 0, -2, 1], abs=0.1)
    assert prior.stds[order].flatten().tolist() == pytest.approx([0.3, 0.5, 0.8, 0.2], abs=0.06)


# --- traps -------------------------------------------------------------------------------------


def log_k_forgotten(patch):
    wrong = lambda self, z: log_normal(z.unsqueeze(-2), self.means, self.stds).logsumexp(-1)  # noqa: E731
    patch.setattr(Mixture, "log_prob", wrong)


def weights_not_normalised(patch):
    wrong = lambda self, z: (  # noqa: E731
        self.logits + log_normal(z.unsqueeze(-2), self.means, self.stds)
    ).logsumexp(-1)
    patch.setattr(Mixture, "log_prob", wrong)


def drawn_from_the_standard_normal(patch):
    wrong = lambda self, count, seed: normal_noise(count, self.means.shape[1], seed=seed)  # noqa: E731
    patch.setattr(Mixture, "sample", wrong)


def components_drawn_alike(patch):
    patch.setattr(Mixture, "weights", property(lambda self: torch.ones_like(self.logits) / 4))


def held_to_the_standard_normal(patch):
    wrong = lambda self, draw: kl_to_standard_normal(*draw.posterior).sum(-1)  # noqa: E731
    patch.setattr(Mixture, "rate", wrong)


def variance_for_standard_deviation(patch):
    right = Mixture.stds.fget
    patch.setattr(Mixture, "sample", _sample_with(lambda prior: right(prior).square()))


def _sample_with(stds):
    def sample(self, count, *, seed):
        generator = torch.Generator().manual_seed(seed)
        chosen = self.weights.detach().multinomial(count, True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        return (self.means[chosen] + stds(self)[chosen] * noise).detach().float()

    return sample


TRAPS = {
    log_k_forgotten: check_density,
    weights_not_normalised: check_density,
    drawn_from_the_standard_normal: check_draws,
    components_drawn_alike: check_draws,
    variance_for_standard_deviation: check_draws,
    held_to_the_standard_normal: check_rates,
}
test_oracles_hold, test_trap_is_caught = trap_tests(TRAPS)


def test_the_rate_is_not_the_divergence_from_the_standard_normal():
    """The two differ by nats if components are far from zero."""
    oracle, model = linear_model(1, lambda model: uneven(model, scale=0.3))
    draw = model.draw(oracle.x, torch.randn(2000, len(oracle.x), 1, dtype=torch.float64))
    difference = draw.rate() - kl_to_standard_normal(*draw.posterior).sum(-1)
    assert difference.abs().mean() > 0.5
    assert math.isfinite(difference.sum().item())


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("model=free_bits_vae", "NormalPosterior has no rate per dimension to "),
        ("model=info_vae", "MMD compares codes with "),
        ("model=wae", "MMD compares codes with "),
    ],
)
def test_objectives_for_another_prior_are_refused_in_one_line(model, fault):
    assert fault in fault_of(model, "model/prior=mixture")
