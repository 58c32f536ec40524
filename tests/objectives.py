"""The objectives of the configs, checks that each must pass, and draws to check them on."""

import itertools
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import nn
from torch.distributions import Normal, kl_divergence

from musigma.models import MLP, Autoencoder
from musigma.models.priors import Prior
from musigma.objectives import Objective
from musigma.objectives.likelihoods import Laplace
from musigma.paths import PROJECT_ROOT
from oracles import normal_draw
from workbench.config.instantiate import instantiate

STANDARD = Normal(0.0, 1.0)


def _of_the_configs():
    """Name of a config → the objective that it describes."""
    paths = sorted((PROJECT_ROOT / "configs" / "model" / "objective").glob("*.yaml"))
    configs = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in paths}
    return {name: instantiate(config, Objective, name) for name, config in configs.items()}


OBJECTIVES = _of_the_configs()

FUNCTIONS = [o for o in OBJECTIVES.values() if not isinstance(o, nn.Module)]
"""The objectives without weights, which need not be bound to a model."""


def draw_of(samples=4, batch=6, d=3, dtype=torch.float64):
    """K draws of z for B images, about as likely as MNIST's."""
    torch.manual_seed(0)
    mu = torch.randn(batch, d, dtype=dtype)
    std = torch.rand(batch, d, dtype=dtype) + 0.1
    z = mu + std * torch.randn(samples, batch, d, dtype=dtype)
    return normal_draw(-800 + torch.randn(samples, batch, dtype=dtype), z, mu, std, 1000)


def rate_of(draw):
    """The rate of each image and dimension by torch, `[B, d]`."""
    return kl_divergence(Normal(*draw.posterior), STANDARD)


class Scaled(Prior):
    """N(0, s²) of each dimension, s learned: the simplest prior that is not N(0, I)."""

    def __init__(self, model):
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((model.latent_dim,), 0.3))

    def log_prob(self, z):
        return Normal(0.0, self.log_scale.exp()).log_prob(z).sum(-1)

    def sample(self, count, *, seed):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, len(self.log_scale), generator=generator)
        return noise * self.log_scale.detach().exp()


def draw_under_a_learned_prior(samples=4):
    """A draw of a model with a learned prior (`draw`), and the prior's weights (`weights`)."""
    torch.manual_seed(0)
    shape = {"latent_dim": 2, "image_shape": (1, 3, 4)}
    model = Autoencoder(MLP([8], [8]), Laplace(), prior=Scaled, **shape)
    noise = torch.randn(samples, 6, model.noise_dim)
    draw = model.draw(torch.randn(6, *model.image_shape), noise, 1000)
    return SimpleNamespace(draw=draw, weights=[*model.prior.parameters()])


def check_it_trains_a_prior(objective):
    """Check that the loss has a gradient for the weights of a learned prior."""
    found = draw_under_a_learned_prior()
    loss, terms, _ = objective(found.draw, 0)
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in found.weights)
    assert any(weight.grad.abs().max() > 0 for weight in found.weights)
    torch.testing.assert_close(terms["elbo"], -(terms["distortion"] + terms["rate"]))


def check_std_at_its_floor(objective):
    """Check that the loss and its gradients are finite if all stds are at their floor."""
    mu = torch.randn(6, 3, requires_grad=True)
    std = torch.full((6, 3), 1e-6, requires_grad=True)
    z = mu + std * torch.randn(objective.samples, 6, 3)
    loss = objective(normal_draw(-z.square().sum(-1), z, mu, std, 1000), 0).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(mu.grad).all()
    assert std.grad is None or torch.isfinite(std.grad).all()


def check_float32(objective):
    """Check that the loss in float32 agrees with float64."""
    double = draw_of(objective.samples)
    parts = (double.log_likelihood, double.z, *double.posterior)
    single = normal_draw(*(value.float() for value in parts), 1000)
    expected = objective(double, 0).loss.item()
    assert objective(single, 0).loss.item() == pytest.approx(expected, rel=1e-6)


def check_terms(objective):
    """Check that the terms have a value per image, and that rate and distortion are right."""
    draw = draw_of()
    terms = objective(draw, 0).terms
    assert all(term.shape == (6,) for term in terms.values())
    torch.testing.assert_close(terms["distortion"], -draw.log_likelihood.mean(0))
    torch.testing.assert_close(terms["rate"], rate_of(draw).sum(1))
    if "elbo" in terms:
        torch.testing.assert_close(terms["elbo"], -(terms["distortion"] + terms["rate"]))


def check_a_point_has_no_rate(objective):
    """Check that an objective that needs no rate reports none for a point posterior."""
    draw = draw_of()
    assert not objective.needs_rate
    point = normal_draw(draw.log_likelihood, draw.z, draw.posterior.mu, None, 1000)
    assert not {"rate", "elbo"} & {*objective(point, 0).terms}


def check_schedule(objective, name):
    """Check that a setting that rises to 2 in ten steps is followed, and the target stays."""
    draw = draw_of()
    seen = [objective(draw, step) for step in (0, 5, 10)]
    assert [loss.settings[name] for loss in seen] == [0, 1, 2]
    assert objective.monitor == "target"
    for loss in seen:
        torch.testing.assert_close(loss.terms["target"], seen[2].terms["target"])
    torch.testing.assert_close(seen[2].terms["target"].mean(), seen[2].loss)
    assert seen[0].loss != seen[2].loss


def check_refusals(*makers):
    """Check that each call refuses its settings as out of range."""
    for make in makers:
        with pytest.raises(ValueError, match="Input should be|must be"):
            make()


def check_batch_size(objective):
    """Check that the loss is the mean of the losses of all halves of a batch, unless it depends on
    the batch size.
    """
    if objective.depends_on_batch_size:
        return
    draw = draw_of(objective.samples)
    losses = []
    for half in itertools.combinations(range(6), 3):
        rows = list(half)
        of_half = (value[..., rows, :] for value in (draw.z, *draw.posterior))
        part = normal_draw(draw.log_likelihood[:, rows], *of_half, 1000)
        losses.append(objective(part, 0).loss)
    torch.testing.assert_close(torch.stack(losses).mean(), objective(draw, 0).loss)


CHECKS = (check_std_at_its_floor, check_float32, check_terms, check_batch_size)
"""The checks that each objective must pass, whatever its settings."""
