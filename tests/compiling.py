"""Modules with compiled training steps, traced by torch without its compiler."""

import pytest
import torch
from packaging.version import Version

from musigma.data import Batch
from musigma.models import Autoencoder
from musigma.models.mlp import MLP
from musigma.module import AutoencoderModule
from musigma.objectives.likelihoods import Laplace

SHAPE = (1, 4, 4)

one_graph = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.14"),
    reason="an older torch may break the step into several graphs",
)


@pytest.fixture
def traced(monkeypatch):
    """Let torch.compile trace as usual, with a backend that runs the same operations."""
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
    """Compute the gradients of one batch; return the module."""
    monkeypatch.setattr(AutoencoderModule, "global_step", 3)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, *SHAPE, generator=generator)
    shape = (module.objective.samples, 6, module.model.noise_dim)
    batch = Batch(x, torch.zeros(6, dtype=torch.long), None)
    module._step("train", batch, torch.randn(shape, generator=generator), None).backward()
    return module


def check_gradients(objective, monkeypatch):
    """Check that a compiled step has the gradients of a plain one."""
    plain = trained_on_a_batch(module_of(objective, compiled=False), monkeypatch)
    compiled = trained_on_a_batch(module_of(objective), monkeypatch)
    for (name, one), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)
