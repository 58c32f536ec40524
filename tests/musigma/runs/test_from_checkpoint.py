"""A checkpoint opens with Lightning's own `load_from_checkpoint`, and predicts."""

import shutil

import lightning as L
import pytest
import torch

from musigma import load_run
from musigma.module import AutoencoderModule
from workbench.errors import RunError
from workbench.runs.weights import load_checkpoint

VAE = ("model=vae", "model.latent_dim=3")


def _same(model, other):
    states = model.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_a_module_opens_from_any_checkpoint_of_a_run_and_predicts(trained, tmp_path):
    folder = trained(*VAE)
    run = load_run(folder.path)
    copied = shutil.copy(folder.checkpoint("best"), tmp_path / "mine.ckpt")
    for path in (folder.checkpoint("best"), str(folder.checkpoint("last")), copied):
        module = AutoencoderModule.load_from_checkpoint(path)
        assert module.objective.beta == run.objective().beta
    assert _same(module.model, run.model)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    predicted = trainer.predict(module, datamodule=run.data)
    mu, std, x_mean = (torch.cat(parts) for parts in zip(*predicted, strict=True))
    assert mu.shape == std.shape == (500, 3)
    x = next(iter(run.data.test_dataloader())).x
    assert torch.equal(mu[: len(x)], module(x).mu)
    assert x_mean.shape == (500, 1, 28, 28)


def test_a_checkpoint_of_an_older_version_uses_the_config_of_its_run_folder(trained, tmp_path):
    folder = trained(*VAE)
    path = folder.checkpoint("best")
    old = load_checkpoint(path)
    assert str(folder.path) not in str(old["config"])
    del old["config"]
    torch.save(old, path)
    module = AutoencoderModule.load_from_checkpoint(path)
    assert _same(module.model, load_run(folder.path).model)
    alone = shutil.copy(path, tmp_path / "alone.ckpt")
    with pytest.raises(RunError, match=r"put it back .* or give the arguments"):
        AutoencoderModule.load_from_checkpoint(alone)
    parts = {"model": module.model, "objective": module.objective}
    given = AutoencoderModule.load_from_checkpoint(alone, **parts)
    assert _same(given.model, module.model)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model", {"_target_": "subprocess.Popen", "args": ["true"]}, "is not allowed"),
        ("optimizer", {"_target_": "torch.hub.load", "_partial_": True}, "is not allowed"),
        ("data", "no data", "data"),
        ("model", None, "model"),
    ],
)
def test_a_foreign_checkpoint_runs_no_code(place, value, message, trained):
    path = trained(*VAE).checkpoint("best")
    checkpoint = load_checkpoint(path)
    checkpoint["config"][place] = value
    torch.save(checkpoint, path)
    with pytest.raises(RunError, match=message):
        AutoencoderModule.load_from_checkpoint(path)
