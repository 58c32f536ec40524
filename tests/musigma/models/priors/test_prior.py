"""The base class gives a prior with only `log_prob` and `sample` all that it needs."""

import pytest
import torch
from torch.distributions import Laplace as LaplaceDistribution

from measuring import measured
from musigma.evaluation import importance_estimate, quadrature_estimate
from musigma.models.priors import Prior
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO, Reconstruction
from oracles import LinearGaussian
from priors import check_rate


class Laplacian(Prior):
    """Independent Laplace distributions of one width."""

    def __init__(self, model, *, width=0.7):
        super().__init__()
        self.latent_dim, self.width = model.latent_dim, width

    def log_prob(self, z):
        return LaplaceDistribution(0.0, self.width).log_prob(z).sum(-1)

    def sample(self, count, *, seed):
        generator = torch.Generator().manual_seed(seed)
        shape = (2, count, self.latent_dim)
        size, sign = torch.rand(shape, generator=generator)
        return -self.width * size.log() * (2 * (sign < 0.5) - 1)


class Spike(Laplacian):
    """Laplace distributions with half of the mass in a spike that samples hit and a grid misses."""

    def log_prob(self, z):
        broad = super().log_prob(z) - torch.tensor(2.0).log()
        spike = torch.distributions.Normal(1.0, 1e-7).log_prob(z).sum(-1)
        return torch.logaddexp(broad, spike - torch.tensor(2.0).log())


class WithoutConstant(Laplacian):
    """Mistake: the density is not normalised."""

    def log_prob(self, z):
        return -(z / self.width).abs().sum(-1)


class Bounded(Laplacian):
    """A prior with only a bound of the rate."""

    has_density = False

    def log_prob(self, z):
        raise NotImplementedError

    def rate(self, draw):
        return draw.z.square().sum(-1).mean(0)


def _model(d=1, recipe=Laplacian):
    oracle = LinearGaussian(d, count=20)
    return oracle, oracle.model(stretch=1.4, prior=recipe)


def test_moments_and_half_width_are_those_of_fixed_samples():
    prior = Laplacian(LinearGaussian(2).model())
    assert prior.mean().abs().max() < 0.05
    torch.testing.assert_close(prior.std(), torch.full((2,), 0.7 * 2**0.5), rtol=0.05, atol=0)
    assert torch.equal(prior.mean(), prior.mean())
    assert prior.half_width() > 1.4 * prior.sample(10_000, seed=0).abs().max()


def test_the_rate_is_estimated_from_draws():
    oracle, model = _model()
    check_rate(model, oracle.x)
    assert model.prior.rate_per_dimension(model.encode(oracle.x)) is None


@pytest.mark.parametrize("d", [1, 2])
def test_quadrature_and_importance_weights_agree(d):
    oracle, model = _model(d)
    exact = quadrature_estimate(model, oracle.x)
    assert exact.converged.all()
    generator = torch.Generator().manual_seed(0)
    estimate = importance_estimate(model, oracle.x, samples=5000, generator=generator)
    deviation = (estimate.log_p - exact.log_p) / estimate.standard_error
    assert torch.all(deviation.abs() < 4.5)


@pytest.mark.parametrize(("kind", "mass"), [(Spike, 0.5), (WithoutConstant, 1.4), (Laplacian, 1)])
def test_the_integral_over_a_prior_that_is_not_1_has_not_converged(kind, mass):
    oracle, model = _model(1, kind)
    found = quadrature_estimate(model, oracle.x)
    assert torch.allclose(found.prior_mass, torch.full_like(found.prior_mass, mass), atol=1e-3)
    assert found.converged.all() == found.converged.any() == (mass == 1)


def test_a_prior_without_weights_is_accepted_by_every_objective():
    _, model = _model()
    for objective in (ELBO(), Reconstruction()):
        AutoencoderModule(model, objective)


def test_a_prior_that_wants_the_mean_image_gets_it_once_before_training(monkeypatch):
    seen = []

    class Started(Laplacian):
        starts_at_mean_image = True

        def start_at(self, mean_image):
            seen.append(mean_image)

    _, model = _model(1, Started)
    module = AutoencoderModule(model, ELBO())
    about = {"labels": {}, "mean_image": lambda self: torch.ones(1, 3, 4)}
    data = type("Data", (), about)()
    monkeypatch.setattr(AutoencoderModule, "_image_data", lambda self: data)
    module.setup("test")
    assert not seen
    module.setup("fit")
    assert len(seen) == 1
    module.transferred = frozenset({"model.prior.weight"})
    module.setup("fit")
    assert len(seen) == 1


def test_a_prior_with_only_a_bound_of_the_rate_gives_an_elbo_and_no_log_p():
    oracle, model = _model(recipe=Bounded)
    found = measured(model, oracle.x, ELBO())
    total = sum(found[name]["mean"] for name in ("elbo", "distortion", "rate"))
    assert total == pytest.approx(0, abs=1e-9)
    assert "a bound of the rate and no density" in found["no_log_p"]
    assert "log_p_exact" not in found
