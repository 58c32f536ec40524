"""The scripts on the real command line, in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

from musigma.paths import PROJECT_ROOT
from small import SMALL

pytestmark = pytest.mark.slow


def test_multirun_gives_a_readable_folder_for_every_job(run_script, tmp_path):
    models = ("autoencoder", "vae")
    done = run_script("-m", f"model={','.join(models)}", "seed=0,1", *SMALL, "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "logs" / "sweeps").iterdir()
    jobs = {path.name for path in sweep.iterdir() if path.is_dir()}
    assert jobs == {f"model={model},seed={seed}" for model in models for seed in (0, 1)}
    losses = {
        json.loads((sweep / job / "metrics.json").read_text())["metrics"]["val/loss"]
        for job in jobs
    }
    assert len(losses) == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.latent_dim=0", "model.latent_dim=0: should be 1 or more"),
        ("model.posterior=point", "objective ELBO needs a rate"),
        ("trainer=gpu", "trainer: No supported gpu backend found"),
        ("resume=nowhere", "nowhere is not a run folder"),
        ("resume=latest", "There is no run in"),
    ],
)
def test_a_config_that_cannot_run_is_one_error_and_leaves_no_folder(
    run_script, tmp_path, override, message
):
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
def test_help_and_config_options_do_not_import_torch(arguments, tmp_path):
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


@pytest.mark.parametrize(("name", "has_groups"), [("train", True), ("report", False)])
def test_help_lists_groups_of_configs_only_for_a_script_that_has_them(name, has_groups):
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", "--help"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("\ntrainer: auto, cpu" in done.stdout) == has_groups
    assert "\nlog_dir: " in done.stdout
    assert "$" not in done.stdout.replace("${", "")


def test_make_help_lists_the_targets():
    done = subprocess.run(
        ["make", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    for target in ("train", "test", "lint", "tensorboard", "install"):
        assert any(line.startswith(f"{target} ") for line in done.stdout.splitlines())
