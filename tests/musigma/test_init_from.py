"""Runs initialised from another's weights: with another d, in parts, or frozen."""

import pytest
import torch

from musigma import load_run
from musigma.commands.export import export_run
from workbench.jobs.quoting import quote
from workbench.runs.weights import load_checkpoint


def weights_of(folder, name="last"):
    return load_checkpoint(folder.checkpoint(name))["state_dict"]


@pytest.mark.slow
def test_a_model_with_another_latent_dim_takes_what_fits_and_keeps_a_frozen_encoder(
    trained, run_here, capsys
):
    other = trained()
    capsys.readouterr()
    begun = [quote(f"init_from={other.path}"), "model.latent_dim=5", "freeze=[encoder]"]
    folder = run_here(*begun, "model=vae", "scheduler=onecycle", "trainer.max_epochs=1")
    output = capsys.readouterr().out
    assert "[5, 32] here, [2, 32] in the file" in output
    origin = folder.read_metrics()["origin"]
    assert origin["path"].endswith("checkpoints/best.ckpt")
    assert origin["not_loaded"]["model.decoder.0.weight"] == "other shape"
    before, after = weights_of(other, "best"), weights_of(folder)
    encoder = {name for name in after if name.startswith("model.encoder.")}
    assert encoder
    for name in encoder:
        assert torch.equal(before[name], after[name])
    last = max(name for name in after if name.startswith("model.decoder.") and "bias" in name)
    assert not torch.equal(before[last], after[last])
    assert load_run(folder.path).model.latent_dim == 5


@pytest.mark.slow
def test_only_the_named_parts_are_taken_from_an_export(trained, run_here, tmp_path):
    other = trained()
    export_run(load_run(other.path), tmp_path / "export")
    begun = [quote(f"init_from={tmp_path}/export"), "init_from_parts=[decoder]"]
    folder = run_here(*begun, "optimizer.lr=0", "trainer.max_epochs=1", "model.center_output=true")
    before, after = weights_of(other, "best"), weights_of(folder)
    same = {name for name in after if torch.equal(before[name], after[name])}
    assert same == {name for name in after if name.startswith("model.decoder.")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plateau", "onecycle", "warmup_cosine"])
def test_every_scheduler_config_trains(name, run_here):
    folder = run_here(f"scheduler={name}", "++parameter_groups.biases_and_norms.weight_decay=0")
    (state,) = load_checkpoint(folder.checkpoint("last"))["lr_schedulers"]
    assert state["last_epoch"] == (2 if name == "plateau" else 10)
