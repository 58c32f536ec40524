"""A compiled training step computes what a plain one does; the compiler itself is left out."""

import copy
import io

import pytest
import torch

from musigma.data import Batch
from musigma.models import Autoencoder
from musigma.models.mlp import MLP
from musigma.module import AutoencoderModule
from musigma.objectives import IWAE
from musigma.objectives.likelihoods import Gaussian, Laplace
from workbench.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own
SHAPE = (1, 4, 4)


@pytest.fixture(autouse=True)
def traced(monkeypatch):
    """torch.compile traces as always, and its backend runs the same operations."""
    compile_ = torch.compile

    def traced_only(function, fullgraph=False, options=None):
        return compile_(function, fullgraph=fullgraph, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", traced_only)


def module_of(objective, likelihood=None, d=2, compiled=True):
    torch.manual_seed(0)
    network = MLP(encoder_sizes=(8,), decoder_sizes=(8,))
    model = Autoencoder(network, likelihood or Laplace(), latent_dim=d, image_shape=SHAPE)
    module = AutoencoderModule(model, objective)
    if compiled:
        module.compile_training()
    return module


def trained_on_a_batch(module, monkeypatch):
    """The module, with the gradients of a batch."""
    monkeypatch.setattr(AutoencoderModule, "global_step", 3)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, *SHAPE, generator=generator)
    shape = (module.objective.samples, 6, module.model.noise_dim)
    batch = Batch(x, torch.zeros(6, dtype=torch.long), None)
    module._step("train", batch, torch.randn(shape, generator=generator), None).backward()
    return module


@pytest.mark.parametrize("gradient", ["standard", "doubly_reparameterized"])
def test_gradients_are_those_of_a_plain_step(gradient, monkeypatch):
    objective = IWAE(samples=4, gradient=gradient)
    plain = trained_on_a_batch(module_of(objective, compiled=False), monkeypatch)
    compiled = trained_on_a_batch(module_of(objective), monkeypatch)
    for (name, one), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_copy_trains_its_own_weights_and_a_module_can_be_saved(monkeypatch):
    module = module_of(IWAE(samples=2), Gaussian(scale_is="optimal"))
    before = copy.deepcopy(module.state_dict())
    tried = trained_on_a_batch(copy.deepcopy(module), monkeypatch)
    assert all(p.grad is None for p in module.parameters())
    assert all(p.grad is not None for p in tried.parameters())
    assert all(torch.equal(value, before[n]) for n, value in module.state_dict().items())
    torch.save(module, io.BytesIO())


def test_one_job_of_a_sweep_after_another_is_compiled_whole(monkeypatch):
    settings = {"recompile_limit": 1, "fail_on_recompile_limit_hit": True}
    with torch._dynamo.config.patch(settings):
        for d in (1, 2, 3):
            trained_on_a_batch(module_of(IWAE(samples=2), d=d), monkeypatch)
            assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            lambda: torch._dynamo.exc.BackendCompilerFailed("", RuntimeError("no g++"), None),
            "compile: torch's compiler failed .RuntimeError: no g",
        ),
        (lambda: torch._dynamo.exc.Unsupported(""), "compile: torch cannot compile .* as a whole"),
    ],
    ids=["no compiler", "not whole"],
)
def test_what_cannot_be_compiled_is_said_in_a_line(error, said, monkeypatch):
    def failing(*_):
        raise error()

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    with pytest.raises(ConfigError, match=said):
        trained_on_a_batch(module_of(IWAE(samples=2)), monkeypatch)
