"""Every likelihood integrates to one and equals an independent computation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate

from musigma.objectives.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace

OUTPUTS = (-30.0, -3.0, -0.0999, 0.0, 1e-4, 0.1001, 0.7, 12.0)
REAL = [
    Laplace(0.3),
    Laplace(1.0),
    Laplace(2.5, "learned"),
    Gaussian(0.3),
    Gaussian(1.0),
    Gaussian(2.5, "learned"),
    Gaussian(0.7, "optimal").eval(),
]
ALL = [*REAL, Bernoulli(), ContinuousBernoulli()]


def _name(likelihood):
    return f"{type(likelihood).__name__}-{likelihood.constant:.2f}"


def _one_pixel(values):
    return torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def _density(likelihood, output):
    return lambda x: likelihood.double().log_prob(_one_pixel(x), _one_pixel(output)).exp().item()


@pytest.mark.parametrize("likelihood", REAL, ids=_name)
@pytest.mark.parametrize("output", [-3.0, 0.7])
def test_densities_of_real_pixels_integrate_to_one(likelihood, output):
    total, _ = integrate.quad(_density(likelihood, output), -100, 100, points=[output], limit=500)
    assert total == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("output", OUTPUTS)
def test_continuous_bernoulli_integrates_to_one_over_the_unit_interval(output):
    total, _ = integrate.quad(_density(ContinuousBernoulli(), output), 0, 1, limit=200)
    assert total == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("output", OUTPUTS)
def test_bernoulli_sums_to_one(output):
    density = _density(Bernoulli(), output)
    assert density(0.0) + density(1.0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
def test_continuous_bernoulli_mean_is_the_first_moment(output):
    density = _density(ContinuousBernoulli(), output)
    moment, _ = integrate.quad(lambda x: x * density(x), 0, 1, limit=200)
    found = ContinuousBernoulli().mean(_one_pixel(output)).item()
    assert found == pytest.approx(moment, abs=1e-7)


def test_continuous_bernoulli_without_its_constant_is_not_a_density():
    """The pervasive error that the paper on this distribution is about."""
    total, _ = integrate.quad(
        lambda x: math.exp(-F.binary_cross_entropy_with_logits(*_two(1.5, x)).item()), 0, 1
    )
    assert total != pytest.approx(1, abs=0.1)


def _two(output, x):
    return torch.tensor(output, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)


@pytest.mark.parametrize(
    ("likelihood", "torchs"),
    [
        (Laplace(0.4), lambda o: torch.distributions.Laplace(o, 0.4)),
        (Laplace(0.4, "learned"), lambda o: torch.distributions.Laplace(o, 0.4)),
        (Gaussian(0.4), lambda o: torch.distributions.Normal(o, 0.4)),
        (Gaussian(0.4, "learned"), lambda o: torch.distributions.Normal(o, 0.4)),
        (Bernoulli(), lambda o: torch.distributions.Bernoulli(logits=o)),
        (ContinuousBernoulli(), lambda o: torch.distributions.ContinuousBernoulli(logits=o)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_log_prob_equals_torch_distributions_summed_over_pixels(likelihood, torchs):
    torch.manual_seed(0)
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64)
    x = x.round() if isinstance(likelihood, Bernoulli) else x
    output = 3 * torch.randn(3, 5, 1, 4, 4, dtype=torch.float64)
    expected = torchs(output).log_prob(x).sum((2, 3, 4))
    torch.testing.assert_close(
        likelihood.double().log_prob(x, output), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("likelihood", ALL, ids=_name)
def test_log_prob_of_pairs_equals_one_image_at_a_time(likelihood):
    torch.manual_seed(0)
    x, output = torch.rand(5, 1, 4, 4).round().double(), torch.randn(7, 1, 4, 4).double()
    pairs = likelihood.double().log_prob_of_pairs(x, output)
    for g in range(7):
        expected = likelihood.log_prob(x, output[g].expand_as(x))
        torch.testing.assert_close(pairs[g], expected)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0])
def test_pairs_of_a_narrow_gaussian_are_exact_in_float32_where_outputs_hardly_differ(scale):
    noise = torch.randn(3, 1, 28, 28)
    steps = 2 * scale * torch.linspace(-1, 1, 9).reshape(-1, 1, 1, 1)
    center = torch.randn(1, 28, 28)
    x, output = center + scale * noise, center + steps * noise[0]
    pairs = Gaussian(scale).log_prob_of_pairs(x, output)
    expected = Gaussian(scale).double().log_prob(x.double(), output.double().unsqueeze(1))
    torch.testing.assert_close(pairs.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("likelihood", [Bernoulli(), ContinuousBernoulli()])
def test_pairs_of_saturated_pixels_are_exact_in_float32(likelihood):
    output = 100 * torch.randn(9, 1, 28, 28)
    x = (output > 0).float()
    pairs = likelihood.log_prob_of_pairs(x, output).diagonal()
    expected = likelihood.log_prob(x.double(), output.double())
    torch.testing.assert_close(pairs.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("likelihood", ALL, ids=_name)
def test_samples_have_the_mean_of_the_likelihood(likelihood):
    torch.manual_seed(0)
    likelihood = likelihood.float()
    output = torch.tensor([-2.0, 0.0, 0.05, 3.0]).reshape(1, 1, 1, 4)
    samples = likelihood.sample(output.expand(200_000, 1, 1, 4))
    expected = likelihood.mean(output).flatten()
    spread = samples.flatten(1).std(0)
    assert torch.all((samples.flatten(1).mean(0) - expected).abs() < 5 * spread / 200_000**0.5)


@pytest.mark.parametrize("likelihood", ALL, ids=_name)
def test_gradients_equal_finite_differences(likelihood):
    torch.manual_seed(0)
    x = torch.rand(2, 1, 2, 2).round().double() * 0.9 + 0.05
    output = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda o: likelihood.double().log_prob(x, o), output)


@pytest.mark.parametrize("likelihood", ALL, ids=_name)
@pytest.mark.parametrize("output", [-100.0, 0.0, 100.0])
def test_extreme_outputs_give_finite_losses_and_gradients(likelihood, output):
    likelihood = likelihood.float()
    outputs = torch.full((1, 1, 2, 2), output, requires_grad=True)
    for x in (0.0, 1.0):
        loss = -likelihood.log_prob(torch.full((1, 1, 2, 2), x), outputs).sum()
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(outputs.grad).all()
        mean = likelihood.mean(outputs)
        assert torch.isfinite(mean).all()
        (of_mean,) = torch.autograd.grad(mean.sum(), outputs)  # objectives may compare images
        assert torch.isfinite(of_mean).all()


@pytest.mark.parametrize("likelihood", ALL, ids=_name)
def test_float32_agrees_with_float64(likelihood):
    torch.manual_seed(0)
    x, output = torch.rand(8, 1, 28, 28).round(), 2 * torch.randn(8, 1, 28, 28)
    single = likelihood.float().log_prob(x, output)
    double = likelihood.double().log_prob(x.double(), output.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-3)
    likelihood.float()


def test_the_constants_of_laplace_and_gaussian_are_included():
    assert 784 * Laplace(1.0).constant == pytest.approx(543.43, abs=0.005)
    assert 784 * Gaussian(1.0).constant == pytest.approx(720.45, abs=0.005)
    zeros = torch.zeros(1, 1, 28, 28)
    assert -Laplace(1.0).log_prob(zeros, zeros).item() == pytest.approx(543.43, abs=0.005)
    assert -Gaussian(1.0).log_prob(zeros, zeros).item() == pytest.approx(720.45, abs=0.005)


def test_a_learned_scale_finds_the_scale_that_generated_the_pixels():
    torch.manual_seed(0)
    output = torch.randn(200, 1, 8, 8)
    for likelihood, noise in (
        (Gaussian(1.0, "learned"), torch.randn_like(output)),
        (Laplace(1.0, "learned"), torch.distributions.Laplace(0.0, 1.0).sample(output.shape)),
    ):
        optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
        for _ in range(200):
            optimizer.zero_grad()
            (-likelihood.log_prob(output + 0.2 * noise, output).mean() / 64).backward()
            optimizer.step()
        assert likelihood.log_scale.exp().item() == pytest.approx(0.2, rel=0.03)


def test_the_optimal_scale_is_the_best_scale_for_the_batch():
    torch.manual_seed(0)
    x, output = torch.randn(6, 1, 4, 4), torch.randn(6, 1, 4, 4)
    optimal = Gaussian(1.0, "optimal").train().log_prob(x, output).sum()
    others = [Gaussian(s).log_prob(x, output).sum() for s in np.linspace(0.5, 4, 200)]
    assert optimal >= max(others)
    assert optimal == pytest.approx(max(others).item(), rel=1e-4)


def test_the_optimal_scale_in_evaluation_does_not_depend_on_the_image():
    torch.manual_seed(0)
    likelihood = Gaussian(1.0, "optimal").train()
    output = torch.zeros(50, 1, 4, 4)
    for _ in range(100):
        likelihood.log_prob(0.3 * torch.randn(50, 1, 4, 4), output)
    likelihood.eval()
    scale = likelihood.log_scale.exp().item()
    assert scale == pytest.approx(0.3, rel=0.02)
    x = torch.randn(3, 1, 4, 4)
    expected = torch.distributions.Normal(0, scale).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(x, output[:3]), expected)


def test_the_optimal_scale_has_the_gradient_of_its_closed_form():
    output = torch.zeros(4, 1, 2, 2, requires_grad=True)
    x = torch.ones(4, 1, 2, 2)
    Gaussian(1.0, "optimal").train().log_prob(x, output).sum().backward()
    # d/dx̂ of −(P/2) log mse summed over the batch, P = 16 pixels: 16 / 2 · 2 (x − x̂) / 16 / mse.
    torch.testing.assert_close(output.grad, torch.ones_like(output) * 2 - 1)


def test_the_optimal_scale_gives_weighted_images_the_gradient_of_a_fixed_scale():
    """Importance weights must not reach other images through the scale of the batch."""
    torch.manual_seed(0)
    x, output = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2, requires_grad=True)
    fixed = Gaussian((output - x).square().mean().sqrt().item())
    found, expected = (
        torch.autograd.grad((torch.arange(4.0) * one.log_prob(x, output)).sum(), output)
        for one in (Gaussian(1.0, "optimal").train(), fixed)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("likelihood", ALL, ids=_name)
def test_output_of_inverts_the_mean(likelihood):
    mean = torch.tensor([0.1, 0.3, 0.5, 0.7]).reshape(1, 2, 2)
    likelihood = likelihood.float()
    torch.testing.assert_close(
        likelihood.mean(likelihood.output_of(mean)), mean, rtol=1e-4, atol=1e-4
    )


def test_grey_levels_under_a_bernoulli_are_not_a_density():
    assert Bernoulli().is_density
    assert Bernoulli().pixels == ("binary",)
    grey = Bernoulli(grey_levels=True)
    assert not grey.is_density
    assert grey.pixels == ("binary", "unit")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(scale=0.0), "scale\n  Input should be greater than 0"),
        (lambda: Laplace(scale=float("nan")), "scale\n  Input should be a finite"),
        (lambda: Laplace(scale_is="optimal"), "scale_is\n  Input should be 'fixed' or"),
        (lambda: Gaussian(scale_is="best"), "scale_is\n  Input should be 'fixed'"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
