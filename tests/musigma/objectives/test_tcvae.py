"""The decomposed rate against its definition and numerical integration."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from musigma.data import MNISTDataModule
from musigma.metrics import meanings
from musigma.models import MLP, Autoencoder
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Laplace
from musigma.objectives.schedules import Linear
from musigma.objectives.tcvae import TCVAE, decompose
from objectives import (
    STANDARD,
    check_it_trains_a_prior,
    check_refusals,
    check_schedule,
    draw_under_a_learned_prior,
)
from oracles import normal_draw
from stacking import SMOOTH, check_stacked


def test_tcvae_with_beta_one_is_the_elbo_with_its_rate_from_z(draw):
    rate = (Normal(*draw.posterior).log_prob(draw.z) - STANDARD.log_prob(draw.z)).sum(-1).mean(0)
    expected = (-draw.log_likelihood.mean(0) + rate).mean()
    torch.testing.assert_close(TCVAE(beta=1.0, samples=4)(draw, 0).loss, expected)
    torch.testing.assert_close(sum(decompose(draw)), rate)


def test_the_terms_equal_those_of_the_mixture_if_the_batch_is_the_data_set():
    """With every image in the batch, MWS is the exact mixture up to its factor 1/B."""
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


def test_tcvae_with_beta_one_under_a_learned_prior_is_the_elbo():
    check_it_trains_a_prior(TCVAE())
    draw = draw_under_a_learned_prior().draw
    torch.testing.assert_close(TCVAE(beta=1.0)(draw, 0).loss, ELBO()(draw, 0).loss)


def test_the_schedule_of_beta_is_followed():
    check_schedule(TCVAE(beta=Linear(steps=10, end=2.0)), "beta")


def test_settings_out_of_range_are_refused():
    check_refusals(lambda: TCVAE(beta=-1.0), lambda: TCVAE(alpha=-1.0))


@pytest.mark.parametrize(("objective", "compares"), [(TCVAE(), False), (ELBO(), True)])
def test_losses_that_estimate_from_batches_compare_only_for_one_batch_size(objective, compares):
    config = {"model": {"likelihood": {}, "objective": {}}}
    module = SimpleNamespace(model=Autoencoder(MLP((8,), (8,)), Laplace()), objective=objective)
    datas = [MNISTDataModule(source="sample", batch_size=size) for size in (32, 64)]
    small, large = (meanings(config, module, data) for data in datas)
    assert (small.of("loss").of == large.of("loss").of) == compares
    assert small.of("elbo").of == large.of("elbo").of


def test_with_gamma_zero_the_prior_is_not_used():
    assert TCVAE().uses_prior
    assert not TCVAE(gamma=0).uses_prior


@pytest.mark.exhaustive
def test_stacked_runs_validate_with_the_number_of_validation_images(jobs):
    common = ("model=tc_vae", *SMOOTH[1:])
    check_stacked(jobs, [(*common, "seed=0"), (*common, "seed=1")], 1e-3)
