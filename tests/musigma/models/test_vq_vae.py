"""VQ-VAE: its code book, its bound, and the chain that is fitted to its codes."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from measuring import measured
from musigma.commands.export import export_run
from musigma.loading import Run
from musigma.models import MLP
from musigma.models.priors.code_book import CodeChain
from musigma.models.vq_vae import VQVAE
from musigma.objectives import ELBO, FreeBits, Reconstruction
from musigma.objectives.likelihoods import Bernoulli, Gaussian
from workbench.errors import ConfigError

SHAPE = (1, 3, 4)


def _model(codes=2, entries=3, code_size=2):
    torch.manual_seed(0)
    network = MLP([8], [8])
    sizes = {"codes": codes, "entries": entries, "code_size": code_size}
    return VQVAE(network, Gaussian(), **sizes, image_shape=SHAPE)


def _draw(model, count=5, samples=1):
    x = torch.randn(count, *SHAPE)
    return x, model.draw(x, torch.randn(samples, count, model.noise_dim))


def test_a_code_is_made_of_the_nearest_entries():
    model = _model()
    _, draw = _draw(model)
    q = draw.posterior
    for vectors, chosen in zip(q.vectors.unflatten(1, (2, 2)), q.indices, strict=True):
        for vector, place in zip(vectors, chosen, strict=True):
            distances = [(vector - entry).square().sum().item() for entry in model.book]
            assert place == distances.index(min(distances))
    assert torch.allclose(q.mu, model.book[q.indices].flatten(1))


def test_the_elbo_is_a_lower_bound_of_the_sum_over_all_codes():
    """log p(x) = log Σ_z p(x|z) / Kᴹ, of which the ELBO keeps the term of one code."""
    model = _model()
    x, draw = _draw(model)
    codes = torch.tensor([*itertools.product(range(3), repeat=2)])
    output = model.decode(model.book[codes].flatten(1).unsqueeze(1))
    log_p = model.likelihood.log_prob(x, output).logsumexp(0) - 2 * math.log(3)
    _, terms, _ = ELBO()(draw, 0)
    assert torch.allclose(terms["rate"], torch.full((5,), 2 * math.log(3)))
    assert torch.all(terms["elbo"] < log_p)
    assert torch.all(log_p < terms["elbo"] + 2 * math.log(3) + 1e-4 + _best_gain(model, x, output))


def _best_gain(model, x, output):
    """By how much the best code decodes better than the encoder's."""
    best = model.likelihood.log_prob(x, output).amax(0)
    return best - model.draw(x, torch.zeros(1, len(x), model.noise_dim)).log_likelihood[0]


def test_the_decoders_gradient_is_passed_straight_through_to_the_encoder():
    model = _model()
    x, draw = _draw(model)
    entries = draw.posterior.entries.detach().requires_grad_()
    output = model.decode(entries)
    expected = torch.autograd.grad(model.likelihood.log_prob(x, output).sum(), entries)[0]
    found = torch.autograd.grad(draw.log_likelihood.sum(), draw.posterior.vectors)[0]
    torch.testing.assert_close(found, expected)


def test_the_penalties_equal_the_papers_and_train_the_book_or_the_encoder():
    model = _model()
    _, draw = _draw(model)
    q = draw.posterior
    distance = F.mse_loss(q.vectors, q.entries, reduction="none").sum(1)
    torch.testing.assert_close(draw.penalties["code_book"], distance)
    torch.testing.assert_close(draw.penalties["commitment"], 0.25 * distance)
    draw.penalties["code_book"].sum().backward(retain_graph=True)
    assert model.head.weight.grad is None
    assert model.book.grad is not None
    model.zero_grad()
    draw.penalties["commitment"].sum().backward()
    assert model.book.grad is None
    assert model.head.weight.grad is not None


def test_perplexity_counts_the_entries_in_use():
    model = _model(codes=1, entries=4)
    even = model.book.detach().repeat(5, 1)
    found = model.latent_metrics(even)
    assert found["perplexity"] == pytest.approx(4)
    assert found["unused_entries"] == 0
    found = model.latent_metrics(model.book.detach()[:1].repeat(9, 1))
    assert found["perplexity"] == pytest.approx(1)
    assert found["unused_entries"] == 3


def test_the_chain_of_codes_sums_to_one_and_its_samples_follow_it():
    model = _model(codes=3)
    torch.manual_seed(1)
    first = torch.randint(3, (400, 1))
    places = torch.cat([first, (first + 1) % 3, torch.randint(3, (400, 1))], 1)
    chain = CodeChain(model, places)
    every = torch.tensor([*itertools.product(range(3), repeat=3)])
    probabilities = chain.log_prob(model.book.detach()[every].flatten(1)).exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    drawn = model.indices(chain.sample(20_000, seed=0))
    index = (drawn * torch.tensor([9, 3, 1])).sum(1)
    shares = index.bincount(minlength=27) / len(index)
    error = (probabilities * (1 - probabilities) / len(index)).sqrt()
    assert torch.all((shares - probabilities).abs() < 5 * error + 1e-4)
    assert torch.equal(chain.sample(5, seed=3), chain.sample(5, seed=3))


def test_an_objective_that_needs_a_rate_per_dimension_is_refused():
    _, draw = _draw(_model())
    with pytest.raises(ConfigError, match="no rate per dimension"):
        FreeBits()(draw, 0)


@pytest.mark.slow
def test_a_run_resumes_to_the_same_bits(resuming):
    resuming.check_same_bits("model=vq_vae", "model.codes=2")


@pytest.mark.slow
def test_a_vq_vae_is_exported(tmp_path):
    run = Run(_model().eval(), None, {"model": {}})
    assert len(export_run(run, tmp_path / "export")) == 4


def test_an_evaluation_has_an_elbo_only_with_a_likelihood_and_a_rate():
    network = MLP((8,), (8,))
    shape = {"codes": 2, "entries": 3, "code_size": 2, "image_shape": SHAPE}
    x = torch.rand(6, *SHAPE).round()
    for likelihood, objective, has_elbo in (
        (Bernoulli(), ELBO(), True),
        (Bernoulli(), Reconstruction(), False),
        (Bernoulli(grey_levels=True), ELBO(), False),
    ):
        model = VQVAE(network, likelihood, **shape).eval()
        assert ("elbo" in measured(model, x, objective)) == has_elbo
