"""Two real processes on the CPU train one run and agree with one process."""

import os

import pytest
import torch

from musigma.callbacks import BestAndLast
from musigma.commands.evaluate import evaluate
from script_server import TESTS, python
from shapes import coloured_shapes, write_folder
from small import SMALL
from workbench.config.build import build_data, build_module
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.trainer import build_trainer

pytestmark = pytest.mark.slow

TWO = ("trainer=ddp", "trainer.devices=2", "data.batch_size=50")
BATCHES = (
    "trainer.log_every_n_steps=1",
    "data.eval_batch_size=77",
    "trainer.limit_train_batches=4",
)


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


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The output of a sweep in two processes, and its run folders by name."""
    logs = tmp_path_factory.mktemp("logs")
    jobs = ("model=autoencoder,vae", *TWO, *SMALL, *BATCHES, "sweep=two", f"log_dir={logs}")
    done = python("scripts/train.py", "-m", *jobs)
    assert done.returncode == 0, done.stderr
    assert not list(logs.glob("runs/*"))
    folders = [RunFolder.open(path.parent) for path in logs.glob("sweeps/two/*/metrics.json")]
    return done.stdout, {folder.path.name: folder for folder in folders}


def test_every_job_of_a_sweep_runs_in_two_processes(sweep):
    output, folders = sweep
    assert output.count("2 processes") == 2
    assert output.count("testing the best checkpoint") == 2
    assert folders.keys() == {"model=autoencoder", "model=vae"}


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_two_processes_and_one_measure_the_same_on_one_checkpoint(model, sweep):
    folder = sweep[1][f"model={model}"]
    metrics = folder.read_metrics()["metrics"]
    for name, value in _test_in_one_process(folder).items():
        assert metrics[f"test/{name}"] == pytest.approx(value, rel=1e-6), name


def test_two_processes_train_to_the_weights_of_one(sweep, run_here, monkeypatch):
    """Without noise, two ranks with 50 images each do what one process with 100 does."""
    shared = sweep[1]["model=autoencoder"]
    alone = run_here("model=autoencoder", *BATCHES, "data.batch_size=100")
    weights = load_checkpoint(shared.checkpoint("last"))["state_dict"]
    for name, value in load_checkpoint(alone.checkpoint("last"))["state_dict"].items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr("musigma.commands.evaluate.plots_of", lambda *_: iter([]))
    settings = {"checkpoint": "last", "images": 20, "samples": 25, "seed": 0}
    ours, theirs = evaluate([str(shared.path), str(alone.path)], shared.path, **settings)
    for metric in ("distortion", "l1", "mse", "psnr"):
        assert ours[metric] == pytest.approx(theirs[metric], rel=1e-4), metric


LOADERS = {
    "streamed files": (
        "data=image_folder",
        "data.path={images}",
        "data.image_shape=[3,16,16]",
        "data.stream=true",
        "data.num_workers=1",
    ),
    "a data set": (
        "data=dataset",
        "data.dataset._target_=torchvision.datasets.FakeData",
        "data.dataset.size=60",
        "data.dataset.image_size=[3,20,20]",
        "data.image_shape=[3,16,16]",
        "data.num_workers=0",
    ),
    "a data module of one's own": ("data=own", "data._target_=tutorial.Blobs", "data.count=120"),
    "a module of one's own": (
        "data.source=sample",
        "module=own",
        "module._target_=tutorial.LitAutoEncoder",
    ),
}
QUICK = (
    *("trainer=ddp", "trainer.devices=2", "trainer.max_epochs=1", "logger=none"),
    *("trainer.log_every_n_steps=1", "trainer.limit_train_batches=3"),
)


@pytest.mark.parametrize(
    "name",
    LOADERS,
)
def test_two_processes_share_the_data_of_any_loader(name, tmp_path):
    """Each takes its half, and both agree on the best checkpoint."""
    write_folder(tmp_path / "images", *coloured_shapes(60, side=16))
    settings = [part.format(images=tmp_path / "images") for part in LOADERS[name]]
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    known = {**os.environ, "MUSIGMA_TRUSTED": "tutorial", "PYTHONPATH": path}
    forked = {"env": known, "second": True}
    done = python("scripts/train.py", *QUICK, *settings, f"log_dir={tmp_path}/logs", **forked)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "2 processes" in done.stdout
    (place,) = tmp_path.glob("logs/runs/*/metrics.json")
    folder = RunFolder.open(place.parent)
    metrics = folder.read_metrics()
    assert metrics["status"] == "completed"
    checkpoint = load_checkpoint(folder.checkpoint("best"))
    assert checkpoint["validation"]["loss"] == metrics["metrics"]["val/loss"]
    assert checkpoint["global_step"] <= 3
    longer = python("scripts/train.py", f"resume={folder.path}", "trainer.max_epochs=2", **forked)
    assert longer.returncode == 0, longer.stderr + longer.stdout
