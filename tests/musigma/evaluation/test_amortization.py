"""The gap between log p(x) and the ELBO, split where both parts are known."""

import pytest
import torch

from musigma.evaluation.amortization import best_elbo
from oracles import LinearGaussian

pytestmark = pytest.mark.slow


def _best(model, x):
    return best_elbo(model, x, generator=torch.Generator().manual_seed(0))


def test_the_best_elbo_is_log_p_if_the_family_contains_the_posterior():
    known = LinearGaussian(count=20)
    best = _best(known.model(shift=0.3, stretch=1.7), known.x)
    # The encoder's own ELBO is far below: the whole gap is one of amortisation.
    assert (known.log_p() - known.elbo(shift=0.3, stretch=1.7)).min() > 0.3
    torch.testing.assert_close(best, known.log_p(), atol=0.05, rtol=0)


def test_a_perfect_encoder_cannot_be_improved():
    known = LinearGaussian(count=20)
    torch.testing.assert_close(_best(known.model(), known.x), known.log_p(), atol=0.05, rtol=0)


def test_searching_for_the_best_elbo_does_not_change_the_model():
    known = LinearGaussian(count=5)
    model = known.model(shift=0.3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _best(model, known.x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
