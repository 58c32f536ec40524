"""Behaviour of a GPU; skipped on machines without one."""

import math

import pytest
import torch

from musigma.commands.evaluate import evaluate
from musigma.module import AutoencoderModule
from musigma.paths import PROJECT_ROOT
from workbench.runs.weights import load_checkpoint

pytestmark = [
    pytest.mark.slow,
    # Warnings of torch when it compiles and when it reports synchronisation.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:`torch.jit.script_method`"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]
GPU = "trainer.accelerator=gpu"
MODELS = sorted(path.stem for path in (PROJECT_ROOT / "configs" / "model").glob("*.yaml"))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_a_gpu_and_evaluates_as_on_the_cpu(
    model, run_here, without_plots, tmp_path
):
    run = run_here(f"model={model}", GPU).path
    found = {}
    for device in ("cpu", "cuda"):
        settings = {"images": 4, "samples": 25, "seed": 0, "output": str(tmp_path / device)}
        (found[device],) = evaluate(
            [str(run)], run.parent, checkpoint="best", device=device, **settings
        )
    for name in ("distortion", "rate", "elbo", "log_p", "l1"):
        here, there = (found[device].get(name) for device in ("cpu", "cuda"))
        assert (here is None) == (there is None)
        if here is not None:
            assert there["mean"] == pytest.approx(here["mean"], rel=1e-3)
            assert math.isfinite(there["mean"])


@pytest.mark.parametrize(
    "settings",
    [(), ("model=vae", "trainer.precision=bf16-mixed"), ("compile=true",)],
    ids=["float32", "bf16", "compiled"],
)
def test_the_host_does_not_wait_for_the_gpu_between_logged_steps(settings, run_here, monkeypatch):
    begin, end = AutoencoderModule.on_train_batch_start, AutoencoderModule.on_train_batch_end

    def begin_without_waiting(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:  # by now all is compiled and allocated
            torch.cuda.set_sync_debug_mode("error")
        begin(self, batch, batch_idx)

    def end_waiting(self, outputs, batch, batch_idx):
        end(self, outputs, batch, batch_idx)
        if batch_idx == 3:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(AutoencoderModule, "on_train_batch_start", begin_without_waiting)
    monkeypatch.setattr(AutoencoderModule, "on_train_batch_end", end_waiting)
    run = run_here(*settings, GPU, "trainer.log_every_n_steps=5")
    assert run.read_metrics()["status"] == "completed"


@pytest.mark.parametrize("model", ["stochastic_autoencoder", "vae", "wae"])
def test_a_run_with_cuda_graphs_ends_with_the_weights_of_a_plain_one(model, run_here):
    settings = (f"model={model}", GPU, "++trainer.accumulate_grad_batches=2")
    plain, compiled = run_here(*settings), run_here(*settings, "compile=true")
    states = [load_checkpoint(run.checkpoint("last"))["state_dict"] for run in (plain, compiled)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4)
