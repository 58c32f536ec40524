"""Free bits against their definition."""

import pytest
import torch

from musigma.objectives import ELBO, objective
from musigma.objectives.free_bits import FreeBits
from objectives import check_refusals, draw_under_a_learned_prior, rate_of
from oracles import normal_draw
from traps import trap_tests
from workbench.errors import ConfigError, RunError
from workbench.jobs.quoting import quote
from workbench.training.run import run


def test_the_rate_of_each_dimension_counts_as_at_least_the_floor(draw):
    per_dimension = rate_of(draw).mean(0)
    floor = per_dimension.median().item()
    loss, terms, _ = FreeBits(floor=floor, samples=4)(draw, 0)
    paid = sum(max(floor, value) for value in per_dimension.tolist())
    assert loss.item() == pytest.approx(terms["distortion"].mean().item() + paid)


def test_free_bits_with_a_floor_of_zero_equal_the_elbo(draw):
    expected = ELBO(samples=4)(draw, 0).loss
    torch.testing.assert_close(FreeBits(floor=0.0, samples=4)(draw, 0).loss, expected)


def test_a_prior_without_a_rate_per_dimension_is_refused():
    with pytest.raises(ConfigError, match="prior=standard_normal"):
        FreeBits()(draw_under_a_learned_prior().draw, 0)


def test_settings_out_of_range_are_refused():
    check_refusals(lambda: FreeBits(floor=-0.1))


@pytest.mark.slow
def test_a_resumed_run_keeps_the_batch_size_that_its_loss_depends_on(trained, compose_launch):
    folder = trained("model=free_bits_vae")
    resume = compose_launch(quote(f"resume={folder.path}"))
    with pytest.raises(RunError, match="the run has 1000 .* the loss of FreeBits, which selects"):
        run(resume._replace(overrides=[f"resume={folder.path}", "data.eval_batch_size=33"]))


# --- traps ---------------------------------------------------------------------------------------


def check_free_bits():
    """The floor is in nats per dimension, of a rate in nats."""
    mu = torch.tensor([[0.1, 2.0], [0.3, 1.0]])
    std = torch.tensor([[0.9, 0.5], [1.0, 0.6]])
    draw = normal_draw(torch.full((1, 2), -100.0), mu.unsqueeze(0), mu, std, 2)
    normal = torch.distributions.Normal
    rate = torch.distributions.kl_divergence(normal(mu, std), normal(0.0, 1.0)).mean(0)
    assert rate[0] < 0.25 < rate[1]
    assert FreeBits(floor=0.25)(draw, 0).loss.item() == pytest.approx(100.25 + rate[1].item())


def free_bits_after_rescaling(patch):
    right = FreeBits.__call__

    def call(self, draw, step):
        loss = right(self, draw, step)
        paid = (draw.rate_per_dimension().mean(0) / 784).clamp(min=self.floor).sum()
        return loss._replace(loss=loss.terms["distortion"].mean() + paid)

    patch.setattr(FreeBits, "__call__", call)


def free_bits_for_the_whole_rate(patch):
    def call(self, draw, step):
        rate = draw.rate_per_dimension().mean(0).sum()
        return objective.Loss(draw.distortion().mean() + rate.clamp(min=self.floor), {}, {})

    patch.setattr(FreeBits, "__call__", call)


TRAPS = {
    free_bits_after_rescaling: check_free_bits,
    free_bits_for_the_whole_rate: check_free_bits,
}
test_oracles_hold, test_trap_is_caught = trap_tests(TRAPS)
test_oracles_hold = pytest.mark.slow(test_oracles_hold)
