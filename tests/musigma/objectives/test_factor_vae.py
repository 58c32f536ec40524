"""FactorVAE: its discriminator, and the separation of its two optimizers."""

import math
from types import SimpleNamespace

import pytest
import torch

from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives.factor_vae import FactorVAE
from musigma.objectives.likelihoods import Gaussian
from oracles import normal_draw
from workbench.errors import ConfigError


def _gaussian_draw(correlation, count):
    """Draws whose aggregate is a Gaussian with this correlation, all noise in the means."""
    z = torch.randn(1, count, 2)
    z[..., 1] = correlation * z[..., 0] + math.sqrt(1 - correlation**2) * z[..., 1]
    return normal_draw(torch.zeros(1, count), z, z[0], torch.full((count, 2), 1e-3), count)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_discriminator_estimates_the_total_correlation_of_a_gaussian(correlation):
    """−½ log det of the correlation matrix."""
    torch.manual_seed(0)
    objective = FactorVAE(sizes=[64, 64])
    objective.bind(SimpleNamespace(latent_dim=2))
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for _ in range(300):
        loss = objective.own_terms(_gaussian_draw(correlation, 1000), 0)[
            "discriminator_loss"
        ].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        terms = objective(_gaussian_draw(correlation, 50_000), 0).terms
    expected = -0.5 * math.log(1 - correlation**2)
    assert terms["total_correlation"].mean().item() == pytest.approx(expected, abs=0.04)
    assert terms["total_correlation"].shape == (50_000,)


def _module(objective=None):
    model = Autoencoder(MLP([8], [8]), Gaussian(), latent_dim=3, image_shape=(1, 4, 4))
    return AutoencoderModule(model, objective or FactorVAE(sizes=[8]))


def test_permuted_codes_keep_the_marginals_and_lose_their_correlation():
    objective = FactorVAE(sizes=[8])
    z = torch.randn(2, 500, 1).expand(2, 500, 3)
    permuted = objective._permuted(z)
    assert torch.equal(permuted.sort(1).values, z.sort(1).values)
    assert torch.corrcoef(permuted[0].T).triu(1).abs().max() < 0.2
    evaluated = objective.eval()._permuted(z)
    assert torch.equal(evaluated, objective._permuted(z))


def test_each_of_the_two_losses_trains_only_its_own_weights():
    module = _module()
    x = torch.randn(6, 1, 4, 4)
    draw = module.model.draw(x, torch.randn(1, 6, 3))
    module.objective(draw, 0).loss.backward(retain_graph=True)
    assert all(p.grad is None for p in module.objective.parameters())
    assert all(p.grad is not None for p in module.model.parameters())
    module.zero_grad()
    module.objective.own_terms(draw, 0)["discriminator_loss"].mean().backward()
    assert all(p.grad is None for p in module.model.parameters())
    assert all(p.grad is not None for p in module.objective.parameters())


def test_the_discriminator_has_its_own_optimizer():
    joint = _module().configure_optimizers()
    assert [group["lr"] for group in joint.param_groups] == [1e-3, 1e-4]
    assert joint.param_groups[1]["betas"] == (0.5, 0.9)


def test_the_discriminators_loss_is_reported_but_not_added_to_the_loss():
    module = _module()
    batch = SimpleNamespace(x=torch.randn(6, 1, 4, 4), y=None)
    noise = torch.randn(1, 6, 3)
    loss, terms, _ = module.terms(batch, noise, 6, 0)
    whole = module.objective(module.model.draw(batch.x, noise), 0).loss
    constant = module.model.likelihood.constant
    assert loss.item() == pytest.approx(whole.item() / 16 - constant, rel=1e-6)
    assert terms["discriminator_loss"].mean().item() == pytest.approx(math.log(2), abs=0.1)
    # It is log 2 for independent dimensions, and lower for a model that is worse by this objective.
    assert module.objective.meanings["discriminator_loss"].better == "neither"


def test_terms_are_float32_under_autocast():
    objective = FactorVAE(sizes=[8])
    objective.bind(SimpleNamespace(latent_dim=2))
    draw = _gaussian_draw(0.5, 10)
    with torch.autocast("cpu", torch.bfloat16):
        terms = {**objective(draw, 0).terms, **objective.own_terms(draw, 0)}
    assert {term.dtype for term in terms.values()} == {torch.float32}


class Leaking(FactorVAE):
    """Mistake: the loss reaches the discriminator, which learns to make itself useless."""

    def forward(self, draw, step):
        result = super().forward(draw, step)
        logits = self.discriminator(draw.z).squeeze(-1)
        return result._replace(loss=result.loss + logits.mean())


class Undetached(FactorVAE):
    """Mistake: the discriminator's loss trains the encoder to help it."""

    def own_terms(self, draw, step):
        logits = self.discriminator(draw.z).squeeze(-1)
        return {"discriminator_loss": logits.mean(0)}


@pytest.mark.parametrize(
    ("wrong", "reached"),
    [(Leaking, "loss, which is for the model, reaches objective"), (Undetached, "reaches model")],
)
def test_a_loss_that_reaches_the_other_optimizers_weights_is_refused(wrong, reached, compose_small):
    from musigma.trial_batch import try_batch
    from workbench.config.build import build_data

    data = build_data(compose_small("model=vae").config)
    model = Autoencoder(MLP([8], [8]), Gaussian(), latent_dim=3)
    with pytest.raises(ConfigError, match=reached):
        try_batch(AutoencoderModule(model, wrong(sizes=[8])), data)


@pytest.mark.slow
def test_a_run_with_an_adversary_resumes_to_the_same_bits(resuming):
    overrides = ["model=factor_vae", "model.objective.sizes=[16]", "+trainer.gradient_clip_val=0.5"]
    kept = resuming.check_same_bits(*overrides, "trainer.max_epochs=3", "scheduler=cosine")
    assert any("objective.discriminator" in name for name in kept)
