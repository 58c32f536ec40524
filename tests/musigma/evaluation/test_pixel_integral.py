"""The integral of p(x|z) over a pixel, of densities and of what is none."""

import math

import pytest
import torch
from torch.distributions import Beta, Cauchy, Normal, StudentT

from musigma.data import MNISTDataModule
from musigma.evaluation import pixel_integral
from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace
from musigma.objectives.likelihoods.likelihood import Likelihood, sum_over_pixels
from musigma.trial_batch import POINTS, try_batch
from workbench.errors import ConfigError


class OfFunction(Likelihood):
    """A likelihood whose log-density of a pixel is a function of the pixel and the output."""

    pixels = ("real",)

    def __init__(self, log_density):
        super().__init__()
        self.log_density = log_density

    def log_prob(self, x, output):
        return sum_over_pixels(self.log_density(x, output))

    def mean(self, output):
        return output

    def sample(self, output):
        return output


class Stated(OfFunction):
    is_density = False


class Inherited(Gaussian):
    """It inherits that a Gaussian is a density, and is none."""

    def log_prob(self, x, output):
        return 2 * super().log_prob(x, output)


class OnUnit(OfFunction):
    pixels = ("unit",)


class OfColours(OfFunction):
    """A likelihood of three channels."""

    def log_prob(self, x, output):
        return sum_over_pixels(-(x[:, 2] - output[..., 2, :, :]).abs())


def huber(x, output):
    r = (x - output).abs()
    return -torch.where(r < 1, r.square() / 2, r - 0.5)


def zero_inflated(x, output):
    density = Normal(output, 1.0, validate_args=False).log_prob(x)
    return torch.where(x == 0, math.log(0.3), math.log(0.7) + density)


DENSITIES = {
    "laplace": Laplace(),
    "narrow laplace": Laplace(0.01),
    "wide gaussian": Gaussian(100.0),
    "fitted gaussian": Gaussian(scale_is="optimal"),
    "bernoulli": Bernoulli(),
    "continuous bernoulli": ContinuousBernoulli(),
    "cauchy": OfFunction(lambda x, o: Cauchy(o, 1.0, validate_args=False).log_prob(x)),
    "student": OfFunction(lambda x, o: StudentT(2.0, o, 0.3, validate_args=False).log_prob(x)),
    "beta": OnUnit(lambda x, o: Beta(o.exp() / 2, 0.5, validate_args=False).log_prob(x)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_integrates_to_one(name):
    assert pixel_integral(DENSITIES[name], POINTS[0]) == pytest.approx(1, abs=2e-3)


def test_a_peak_away_from_the_mean_takes_more_points():
    far = OfFunction(lambda x, o: Normal(o + 1, 1e-3, validate_args=False).log_prob(x))
    assert pixel_integral(far, POINTS[1]) == pytest.approx(1, abs=1e-6)


def test_the_integral_of_the_huber_energy():
    """∫ exp(−huber) = 2 (∫₀¹ exp(−r²/2) dr + ∫₁^∞ exp(½ − r) dr)."""
    expected = 2 * (math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) + math.exp(-0.5))
    assert pixel_integral(OfFunction(huber), POINTS[0]) == pytest.approx(expected, rel=1e-6)


def test_what_takes_no_image_of_one_pixel_has_no_integral():
    assert pixel_integral(OfColours(None), POINTS[0]) is None


def _try(likelihood):
    model = Autoencoder(MLP((8,), (8,)), likelihood)
    data = MNISTDataModule(source="sample")
    return try_batch(AutoencoderModule(model, ELBO()), data)


@pytest.mark.parametrize(
    ("likelihood", "total"),
    [(OfFunction(huber), "2.92"), (OfFunction(zero_inflated), "0.7"), (Inherited(), "0.282")],
)
def test_a_likelihood_that_is_no_density_is_refused_before_training(likelihood, total):
    name = type(likelihood).__name__
    advice = "is_density = False, is_probability = True if"
    with pytest.raises(ConfigError, match=f"of {name} integrates to {total} over .*{advice}"):
        _try(likelihood)


@pytest.mark.parametrize(
    "likelihood", [Stated(huber), DENSITIES["cauchy"], DENSITIES["fitted gaussian"]]
)
def test_a_density_and_what_says_that_it_is_none_are_tried(likelihood):
    terms, _ = _try(likelihood)
    assert "loss" in terms
