"""Two real processes on the CPU share one run and agree with one process."""

import pytest
import torch

from musigma.callbacks import BestAndLast
from musigma.evaluating import evaluate
from musigma.loading import load_checkpoint
from workbench.config.build import build_data, build_module, build_trainer

pytestmark = pytest.mark.slow

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.source=sample")
SMALL = ("trainer.max_epochs=2", "data.batch_size=63", "data.eval_batch_size=77")


def _test_in_one_process(folder):
    config = folder.read_config()
    config["trainer"] |= {"strategy": "auto", "devices": 1}
    config["logger"] = None
    data = build_data(config)
    module = build_module(config, data)
    trainer = build_trainer(config, folder.path)
    best = BestAndLast.path(trainer, "best")
    trainer.test(module, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
    return module.metrics("test")


def test_two_processes_agree_with_one_on_the_same_checkpoint(run_script, only_run):
    done = run_script("model=vae", *TWO, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout
    assert done.stdout.count("testing the best checkpoint") == 1
    folder = only_run()
    metrics = folder.read_metrics()["metrics"]
    for name, value in _test_in_one_process(folder).items():
        assert metrics[f"test/{name}"] == pytest.approx(value, rel=1e-6), name


def test_two_processes_train_the_model_that_one_trains(run_script, only_run, run_here):
    """Without noise, two ranks with 50 images each do what one process with 100 does."""
    common = ("model=autoencoder", "trainer.max_epochs=2", "trainer.log_every_n_steps=1")
    sizes = ("model.network.encoder_sizes=[32]", "model.network.decoder_sizes=[32]")
    done = run_script(*TWO, *common, *sizes, "data.batch_size=50", "+trainer.limit_train_batches=4")
    assert done.returncode == 0, done.stderr
    shared = only_run()
    alone = run_here(*common, "data.batch_size=100", "trainer.limit_train_batches=4")
    weights = load_checkpoint(shared.checkpoint("last"))["state_dict"]
    for name, value in load_checkpoint(alone.checkpoint("last"))["state_dict"].items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5)
    settings = {"checkpoint": "last", "images": 20, "samples": 25, "seed": 0}
    ours, theirs = evaluate([str(shared.path), str(alone.path)], shared.path, **settings)
    for figure in ("distortion", "l1", "mse", "psnr"):
        assert ours[figure] == pytest.approx(theirs[figure], rel=1e-4), figure


def test_every_job_of_a_sweep_runs_in_two_processes(run_script, tmp_path):
    done = run_script("-m", "seed=0,1", *TWO, "trainer.max_epochs=1", "name=short")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 processes") == 2
    assert len(list(tmp_path.glob("logs/sweeps/*/*/metrics.json"))) == 2
    assert not list(tmp_path.glob("logs/runs/*"))
