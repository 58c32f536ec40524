"""A sweep gives the same metrics with every launcher; each launcher is an extra."""

import json
import os
import subprocess
import sys

import pytest

from extras import needs
from musigma.paths import PROJECT_ROOT
from small import SMALL

pytestmark = pytest.mark.slow

SHORT = (*SMALL, "trainer.max_epochs=1", "callbacks.image_panel=null")
FEW = (
    "+trainer.limit_train_batches=2",
    "callbacks.image_panel=null",
    "callbacks.latent_panel=null",
)
STRICT = ("hydra.sweeper.pruner.n_startup_trials=1", "hydra.sweeper.pruner.n_warmup_steps=0")
JOBS = ("model=vae,autoencoder", "seed=0,1", *SHORT)


def _start(logs, *arguments):
    return subprocess.Popen(
        [sys.executable, "scripts/train.py", "-m", *arguments, f"log_dir={logs}"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "HYDRA_FULL_ERROR": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _sweep(logs, *arguments):
    with _start(logs, *arguments) as process:
        output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output[-6000:]
    return _runs(logs)


def _runs(logs):
    return {
        path.parent.name: json.loads(path.read_text())
        for path in (logs / "sweeps").glob("*/*/metrics.json")
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return _sweep(tmp_path_factory.mktemp("plain"), *JOBS)


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("all_cores", marks=needs("hydra_plugins.hydra_joblib_launcher")),
        pytest.param("slurm_local", marks=needs("hydra_plugins.hydra_submitit_launcher")),
        pytest.param("ray_local", marks=needs("hydra_plugins.hydra_ray_launcher")),
    ],
)
def test_every_launcher_gives_the_same_metrics(launcher, plain, tmp_path):
    found = _sweep(tmp_path, *JOBS, f"hydra/launcher={launcher}")
    assert found.keys() == plain.keys()
    for name, run in plain.items():
        assert found[name]["status"] == "completed"
        for metric, value in run["metrics"].items():
            assert found[name]["metrics"][metric] == pytest.approx(value, rel=1e-5), (name, metric)


@needs("optuna")
def test_the_search_study_runs_its_trials_and_may_prune_them(tmp_path):
    small = ("data.source=sample", "trainer=cpu", "trainer.max_epochs=4", *FEW)
    runs = _sweep(tmp_path, "study=search", *small, "hydra.sweeper.n_trials=3", *STRICT)
    assert len(runs) == 3
    assert {run["status"] for run in runs.values()} <= {"completed", "pruned"}
    assert [run["trial"] for run in runs.values()].count(0) == 1


@needs("optuna")
@needs("hydra_plugins.hydra_joblib_launcher")
def test_a_search_can_run_trials_in_parallel(tmp_path):
    search = ("hydra/sweeper=search", "optimizer.lr=tag(log,interval(1e-4,1e-2))")
    side = ("hydra/launcher=all_cores", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    runs = _sweep(tmp_path, "model=vae", *SHORT, *search, *side)
    assert sorted(run["trial"] for run in runs.values()) == [0, 1, 2, 3]
    assert {run["status"] for run in runs.values()} == {"completed"}
