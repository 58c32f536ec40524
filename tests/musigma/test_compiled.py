"""A compiled training step computes what a plain one does."""

import copy
import io

import pytest
import torch

from compiling import check_gradients, module_of, traced, trained_on_a_batch  # noqa: F401
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Gaussian
from workbench.errors import ConfigError

pytestmark = [
    pytest.mark.usefixtures("traced"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # torch's own
]


@pytest.mark.slow
def test_gradients_are_those_of_a_plain_step(monkeypatch):
    check_gradients(ELBO(samples=4), monkeypatch)


@pytest.mark.slow
def test_a_copy_trains_its_own_weights_and_a_module_can_be_saved(monkeypatch):
    module = module_of(ELBO(samples=2), Gaussian(scale_is="optimal"))
    before = copy.deepcopy(module.state_dict())
    tried = trained_on_a_batch(copy.deepcopy(module), monkeypatch)
    assert all(p.grad is None for p in module.parameters())
    assert all(p.grad is not None for p in tried.parameters())
    assert all(torch.equal(value, before[n]) for n, value in module.state_dict().items())
    torch.save(module, io.BytesIO())


@pytest.mark.slow
def test_one_job_of_a_sweep_after_another_is_compiled_whole(monkeypatch):
    settings = {"recompile_limit": 1, "fail_on_recompile_limit_hit": True}
    with torch._dynamo.config.patch(settings):
        for d in (1, 2, 3):
            trained_on_a_batch(module_of(ELBO(samples=2), d=d), monkeypatch)
            assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize(
    ("error", "said"),
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
def test_what_cannot_be_compiled_is_said_in_a_line(error, said, monkeypatch):
    def failing(*_):
        raise error()

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    with pytest.raises(ConfigError, match=said):
        trained_on_a_batch(module_of(ELBO(samples=2)), monkeypatch)
