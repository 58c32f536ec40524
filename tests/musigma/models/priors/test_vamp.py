"""The VampPrior against torch.distributions, its start, and its blindness to test images."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from musigma.data import TensorLoader
from musigma.data.datamodule import ImageDataModule
from musigma.data.mnist import MNISTDataModule
from musigma.data.sample import sample_digits
from musigma.data.splits import split
from musigma.models import MLP, Autoencoder
from musigma.models.posteriors import Head, NormalPosterior, PointHead
from musigma.models.posteriors.posterior import DensityPosterior
from musigma.models.priors.vamp import Vamp
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO, IWAE
from musigma.objectives.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace
from musigma.seeding import normal_noise
from oracles import PIXELS, LinearGaussian, quiet_trainer
from priors import LearnedPrior, check_draws_follow_the_density, check_log_p, check_rate
from traps import trap_tests


def spread_out(model):
    return Vamp(model, components=5, spread=2.0)


def torch_mixture(model):
    """The same distribution by torch, for a normal posterior."""
    mu, std = model.encode(model.prior.pseudo_inputs())
    parts = Independent(Normal(mu, std), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(len(mu))), parts)


def linear_model(d=2):
    torch.manual_seed(2)
    oracle = LinearGaussian(d, count=40)
    return oracle, oracle.model(stretch=1.3, prior=spread_out)


def check_density():
    """Both estimators find (1/K) Σ_k N(x; W μ_k + b, W diag(σ_k²) Wᵀ + σ² I)."""
    oracle, model = linear_model()
    with torch.no_grad():
        mu, std = model.encode(model.prior.pseudo_inputs())
    eye = oracle.sigma**2 * torch.eye(PIXELS, dtype=torch.float64)
    covariances = oracle.w @ torch.diag_embed(std.square()) @ oracle.w.T + eye
    parts = MultivariateNormal(mu @ oracle.w.T + oracle.b, covariances)
    log_p = MixtureSameFamily(Categorical(logits=torch.zeros(5)), parts).log_prob(oracle.flat)
    check_log_p(model, oracle.x, log_p)


def check_draws():
    for d in (1, 2):
        _, model = linear_model(d)
        check_draws_follow_the_density(model.prior)


def check_rates():
    oracle, model = linear_model(1)
    check_rate(model, oracle.x)


def trained(likelihood="laplace", *, test_images=None):
    """A model after two steps on MNIST's sample, with other test images if these are given."""
    torch.manual_seed(0)
    likelihood, normalization = {
        "laplace": (Laplace(), "standardize"),
        "bernoulli": (Bernoulli(), "binarize_static"),
    }[likelihood]
    model = Autoencoder(MLP([8], [8]), likelihood, prior=lambda m: Vamp(m, components=3))
    data = MNISTDataModule(source="sample", normalization=normalization, val_size=500)
    if test_images is not None:
        read = data.read
        data.read = lambda train: read(True) if train else (test_images, read(False)[1])
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=2, limit_val_batches=0)
    trainer.fit(AutoencoderModule(model, ELBO()), datamodule=data)
    return model


def check_no_test_image_is_seen():
    """Pseudo-inputs start at the mean training image and do not depend on the test images."""
    images, _ = sample_digits(True)
    mask = split(len(images), 500, "")
    mean = images[~mask].double().mean(0) / 255
    model = trained()
    expected = ((mean - 0.1307) / 0.3081).float()
    torch.testing.assert_close(model.prior.center, expected, rtol=0, atol=1e-3)
    other = trained(test_images=255 - sample_digits(False)[0])
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


class TestVamp(LearnedPrior):
    name = "vamp"
    small_settings = ("model.prior.components=20",)
    recipe = staticmethod(spread_out)
    uses_the_encoder = True


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_vamp_prior_equals_torchs_mixture(d):
    _, model = linear_model(d)
    z = 2 * torch.randn(50, 3, d, dtype=torch.float64)
    torch.testing.assert_close(model.prior.log_prob(z), torch_mixture(model).log_prob(z))
    error = 4 * model.prior.std() / 10_000**0.5
    assert torch.all((model.prior.mean() - torch_mixture(model).mean.float()).abs() < error)


def test_the_density_does_not_depend_on_how_many_codes_fit_into_memory(monkeypatch):
    _, model = linear_model()
    z = torch.randn(10, 7, 2, dtype=torch.float64)
    expected = model.prior.log_prob(z)
    monkeypatch.setattr("musigma.models.priors.vamp.CHUNK", 40)
    torch.testing.assert_close(model.prior.log_prob(z), expected)


def test_a_vamp_prior_does_not_own_its_models_weights():
    _, model = linear_model()
    assert {n for n in model.state_dict() if "prior" in n} == {"prior.offsets", "prior.center"}
    assert [n for n, _ in model.prior.named_parameters()] == ["offsets"]
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.head.mu.bias.add_(10.0)
    shift = copied.prior.mean() - model.prior.mean()
    torch.testing.assert_close(shift, torch.full((2,), 10.0))


@pytest.mark.parametrize(
    ("likelihood", "is_squashed"),
    [(Bernoulli(), True), (ContinuousBernoulli(), True), (Gaussian(), False), (Laplace(), False)],
)
def test_pseudo_inputs_are_in_the_pixel_range_of_the_likelihood(likelihood, is_squashed):
    model = Autoencoder(MLP([8], [8]), likelihood, prior=lambda m: Vamp(m, spread=3.0))
    u = model.prior.pseudo_inputs()
    assert u.shape == (500, 1, 28, 28)
    assert (u.min() > 0 and u.max() < 1) == is_squashed
    mean_image = torch.rand(1, 28, 28) * 0.8 + 0.1
    model.prior.start_at(mean_image)
    with torch.no_grad():
        model.prior.offsets.zero_()
    expected = mean_image.expand(500, 1, 28, 28)
    torch.testing.assert_close(model.prior.pseudo_inputs(), expected)


def test_pseudo_inputs_start_at_the_mean_image_once():
    _, model = linear_model()
    first = torch.randn(1, 3, 4)
    for mean_image in (first, first + 1):
        model.prior.start_at(mean_image)
    torch.testing.assert_close(model.prior.center.float(), first)
    assert not linear_model()[1].prior.center.any()


def test_pseudo_inputs_of_binary_pixels_start_at_their_mean_image():
    center = trained("bernoulli").prior.center
    assert center.min().item() == pytest.approx(np.log(0.02 / 0.98), rel=1e-4)
    assert -2 < center.max() < 2


def test_without_a_data_module_pseudo_inputs_start_around_zero():
    oracle, model = linear_model()
    loader = TensorLoader(oracle.x, torch.zeros(40), batch_size=20)
    trainer = quiet_trainer(max_epochs=1, log_every_n_steps=1)
    trainer.fit(AutoencoderModule(model.train(), ELBO()), loader, loader)
    assert not model.prior.center.any()


@dataclass(frozen=True, eq=False)
class Correlated(DensityPosterior):
    """N(mu, L Lᵀ) with one L for all images, without a density per dimension."""

    mean: torch.Tensor
    L: ClassVar = torch.tensor([[1.0, 0.0], [0.8, 0.5]])

    @property
    def mu(self):
        return self.mean

    @property
    def std(self):
        return self.L.norm(dim=1).expand_as(self.mean)

    def detach(self):
        return Correlated(self.mean.detach())

    def rsample(self, noise=None):
        return self.mu + noise @ self.L.T

    def log_prob(self, z):
        assert z.shape[-2:] == self.mu.shape
        return MultivariateNormal(self.mu, scale_tril=self.L).log_prob(z)


class CorrelatedHead(Head):
    def __init__(self, features, latent_dim):
        super().__init__(latent_dim)
        self.mu = torch.nn.Linear(features, latent_dim)

    def forward(self, features):
        return Correlated(self.mu(features))


def test_components_can_be_posteriors_of_any_kind():
    torch.manual_seed(0)
    shape = {"latent_dim": 2, "image_shape": (1, 3, 4)}
    model = Autoencoder(
        MLP([8], [8]), Laplace(), posterior=CorrelatedHead, prior=spread_out, **shape
    )
    mu = model.encode(model.prior.pseudo_inputs()).mu
    parts = MultivariateNormal(mu, scale_tril=Correlated.L.expand(5, 2, 2))
    expected = MixtureSameFamily(Categorical(logits=torch.zeros(5)), parts)
    z = torch.randn(3, 4, 2)
    torch.testing.assert_close(model.prior.log_prob(z), expected.log_prob(z))
    draws = model.prior.sample(20_000, seed=0)
    covariance = torch.cov(mu.T, correction=0) + Correlated.L @ Correlated.L.T
    torch.testing.assert_close(torch.cov(draws.T), covariance, rtol=0.05, atol=0.02)


def test_a_point_posterior_or_a_conditional_encoder_is_refused():
    with pytest.raises(ValueError, match="a point has no density: use posterior=normal"):
        Autoencoder(MLP([8], [8]), Laplace(), posterior=PointHead, prior=Vamp)

    class Conditional(Autoencoder):
        conditioned_on = frozenset({"y"})

    with pytest.raises(ValueError, match="encoder is conditioned on y, which they do not have"):
        Conditional(MLP([8], [8]), Laplace(), prior=Vamp)


@pytest.mark.slow
def test_the_encoders_doubly_reparameterized_gradient_has_the_mean_of_the_standard_one():
    """The encoder is part of the prior too; that path is weighted as parameters of a prior are."""
    oracle, model = linear_model(1)
    x, gradients = oracle.x[:8], []
    for gradient in ("standard", "doubly_reparameterized"):
        objective, found = IWAE(samples=16, gradient=gradient), []
        for repeat in range(300):
            generator = torch.Generator().manual_seed(repeat)
            noise = torch.randn(16, 8, 1, generator=generator, dtype=torch.float64)
            loss = objective(model.draw(x, noise, 8), 0).loss
            parameters = [model.head.mu.bias, model.head.raw_std.bias]
            found.append(torch.cat(torch.autograd.grad(loss, parameters)))
        gradients.append(torch.stack(found))
    standard, doubly = gradients
    error = (standard - doubly).std(0) / 300**0.5
    assert torch.all((standard.mean(0) - doubly.mean(0)).abs() < 4.5 * error)
    # The path through the prior has a gradient that is not negligible.
    prior = model.prior.log_prob(torch.zeros(1, 1, dtype=torch.float64)).sum()
    (through,) = torch.autograd.grad(prior, [model.head.mu.bias])
    assert through.abs() > 1e-3


# --- traps -------------------------------------------------------------------------------------


def log_k_forgotten(patch):
    right = Vamp.log_prob
    wrong = lambda self, z: right(self, z) + np.log(len(self.offsets))  # noqa: E731
    patch.setattr(Vamp, "log_prob", wrong)


def drawn_from_the_standard_normal(patch):
    wrong = lambda self, count, seed: normal_noise(  # noqa: E731
        count, self._model[0].latent_dim, seed=seed
    )
    patch.setattr(Vamp, "sample", wrong)


def means_drawn_for_posteriors(patch):
    right = NormalPosterior.rsample

    def wrong(self, noise=None):
        return self.mu.expand_as(noise) if noise.ndim == 3 else right(self, noise)

    patch.setattr(NormalPosterior, "rsample", wrong)


def densities_averaged_in_logs(patch):
    right = Vamp.log_prob

    def wrong(self, z):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(torch.Tensor, "logsumexp", lambda t, d: t.mean(d) + np.log(t.shape[d]))
            return right(self, z)

    patch.setattr(Vamp, "log_prob", wrong)


def held_to_the_standard_normal(patch):
    wrong = lambda self, draw: draw.posterior.rate_to_standard_normal()  # noqa: E731
    patch.setattr(Vamp, "rate", wrong)


def images_of_the_test_set_in_the_mean_image(patch):
    right = ImageDataModule.mean_image

    def wrong(self):
        self.setup("test")
        return (right(self) + self._sets["test"].images.mean(0)) / 2

    patch.setattr(ImageDataModule, "mean_image", wrong)


TRAPS = {
    log_k_forgotten: check_density,
    densities_averaged_in_logs: check_density,
    drawn_from_the_standard_normal: check_draws,
    means_drawn_for_posteriors: check_draws,
    held_to_the_standard_normal: check_rates,
    images_of_the_test_set_in_the_mean_image: check_no_test_image_is_seen,
}
test_oracles_hold, test_trap_is_caught = trap_tests(TRAPS)
