"""The real scripts on the real command line, in processes of their own."""

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
import yaml
from warm import python

from musigma.paths import PROJECT_ROOT
from small import SMALL

pytestmark = pytest.mark.slow


def test_a_run_tells_its_story_and_explains_itself(run_script, only_run):
    done = run_script("model=vae", *SMALL, "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    folder = only_run()
    for words in (
        "data source: sample",
        "vae: d = 2, normal posterior, Laplace likelihood, 51,",
        "ELBO (beta=1.0, samples=1)",
        "precision 32-true",
        "nats per image",
        f"tensorboard --logdir {folder.path}",
    ):
        assert words in done.stdout, done.stdout
    names = {path.name for path in folder.path.iterdir()}
    assert {"config.yaml", "overrides.yaml", "environment.txt", "metrics.json"} <= names
    assert {"train.log", "checkpoints"} <= names
    metrics = folder.read_metrics()
    assert metrics["status"] == "completed"
    assert metrics["data_source"] == "sample"
    assert metrics["metrics"].keys() >= {"test/elbo", "val/rate", "train/l1"}
    assert folder.read_config()["data"]["source"] == "sample"
    assert yaml.safe_load((folder.path / "overrides.yaml").read_text())[0] == "model=vae"
    environment = (folder.path / "environment.txt").read_text()
    assert "torch==" in environment
    assert "device cpu" in environment
    assert "epoch 1/1" in (folder.path / "train.log").read_text()


def test_multirun_gives_a_readable_folder_for_every_job(run_script, tmp_path):
    models = ("autoencoder", "stochastic_autoencoder", "vae")
    done = run_script("-m", f"model={','.join(models)}", "seed=0,1", *SMALL)
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "logs" / "sweeps").iterdir()
    jobs = {path.name for path in sweep.iterdir() if path.is_dir()}
    assert jobs == {f"model={model},seed={seed}" for model in models for seed in (0, 1)}
    losses = {
        json.loads((sweep / job / "metrics.json").read_text())["metrics"]["val/loss"]
        for job in jobs
    }
    assert len(losses) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_keeps_a_checkpoint_and_the_message_goes_on(number, start_script, only_run):
    started = start_script(*SMALL, "trainer.max_epochs=2000", "name='a=b'")
    started.wait_for("epoch 2/2000")
    started.send_signal(number)
    done = started.finish(60)
    assert done.returncode == 130, done.stderr
    folder = only_run()
    assert folder.read_metrics()["status"] == "interrupted"
    assert folder.checkpoint("last").exists()
    command = shlex.split(
        (done.stdout + done.stderr).split("Resume with: python ")[1].splitlines()[0]
    )
    epochs = (folder.path / "train.log").read_text().count("epoch ") + 2
    done = python(*command, f"trainer.max_epochs={epochs}")
    assert done.returncode == 0, done.stderr
    assert folder.read_metrics()["status"] == "completed"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.latent_dim=0", "model.latent_dim=0: Input should be greater than or equal to 1"),
        ("model.posterior=point", "objective ELBO weighs a rate"),
        ("trainer=gpu", "trainer: No supported gpu backend found"),
        ("resume=nowhere", "nowhere is not a run folder"),
        ("resume=latest", "There is no run in"),
    ],
)
def test_what_cannot_be_is_one_clear_error_and_no_folder(run_script, tmp_path, override, message):
    if override == "trainer=gpu" and os.path.exists("/dev/nvidia0"):
        pytest.skip("this machine has a GPU")
    done = run_script("model=vae", "data.source=sample", override)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "logs").glob("runs/*"))


def test_missing_data_is_an_error_and_never_replaced_silently(run_script, tmp_path):
    done = run_script("data.mirrors=['http://127.0.0.1:9/']", DATA_DIR=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "train-images-idx3-ubyte" in done.stderr
    assert "data.fallback=sample" in done.stderr
    assert not list((tmp_path / "logs").glob("runs/*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--cfg", "job"],
        ["--cfg", "job", "model=vae", "trainer.min_epochs=2"],
        ["--hydra-help"],
        ["-sc", "query=model=v"],
    ],
)
def test_looking_does_not_import_torch(arguments, tmp_path):
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('TORCH', 'torch' in sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['scripts/train.py', *{arguments!r}]\n"
        "runpy.run_path('scripts/train.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        env={**os.environ, "COMP_LINE": "train.py model=v"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TORCH False" in done.stderr, done.stderr


def test_make_help_lists_the_targets():
    done = subprocess.run(
        ["make", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    for target in ("train", "test", "lint", "tensorboard", "install"):
        assert any(line.startswith(f"{target} ") for line in done.stdout.splitlines())
