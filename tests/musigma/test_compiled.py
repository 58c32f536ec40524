"""A compiled training step computes what a plain one does."""

import copy
import io

import pytest
import torch

from compiling import (
    check_gradients,
    module_of,
    one_graph,
    traced,  # noqa: F401
    trained_on_a_batch,
)
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Gaussian
from workbench.errors import ConfigError

pytestmark = [
    pytest.mark.usefixtures("traced"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # by torch
]


@pytest.mark.slow
def test_a_compiled_step_has_the_gradients_of_a_plain_one(monkeypatch):
    check_gradients(ELBO(samples=4), monkeypatch)


@pytest.mark.slow
def test_a_copy_of_a_compiled_module_trains_its_own_weights_and_can_be_saved(monkeypatch):
    module = module_of(ELBO(samples=2), Gaussian(scale_is="optimal"))
    before = copy.deepcopy(module.state_dict())
    tried = trained_on_a_batch(copy.deepcopy(module), monkeypatch)
    assert all(p.grad is None for p in module.parameters())
    assert all(p.grad is not None for p in tried.parameters())
    assert all(torch.equal(value, before[n]) for n, value in module.state_dict().items())
    torch.save(module, io.BytesIO())


@one_graph
@pytest.mark.slow
def test_models_of_several_sizes_are_each_compiled_to_one_graph(monkeypatch):
    settings = {"recompile_limit": 1, "fail_on_recompile_limit_hit": True}
    with torch._dynamo.config.patch(settings):
        for d in (1, 2, 3):
            trained_on_a_batch(module_of(ELBO(samples=2), d=d), monkeypatch)
            assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            lambda: torch._dynamo.exc.BackendCompilerFailed("", RuntimeError("no g++"), None),
            "compile: torch's compiler failed .RuntimeError: no g",
        ),
        (
            lambda: torch._dynamo.exc.Unsupported(""),
            "compile: torch cannot compile .* to one graph",
        ),
    ],
    ids=["no compiler", "not whole"],
)
def test_a_step_that_cannot_be_compiled_is_a_config_error(error, message, monkeypatch):
    def failing(*_):
        raise error()

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    with pytest.raises(ConfigError, match=message):
        trained_on_a_batch(module_of(ELBO(samples=2)), monkeypatch)
