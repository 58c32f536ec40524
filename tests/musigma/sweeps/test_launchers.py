"""The same sweep gives the same figures, whoever starts its jobs; each launcher is an extra."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from extras import needs
from musigma.paths import PROJECT_ROOT
from small import SMALL

pytestmark = pytest.mark.slow

SHORT = (*SMALL, "trainer.max_epochs=1", "callbacks.image_panel=null")
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
def test_every_launcher_gives_the_same_figures(launcher, plain, tmp_path):
    found = _sweep(tmp_path, *JOBS, f"hydra/launcher={launcher}")
    assert found.keys() == plain.keys()
    for name, run in plain.items():
        assert found[name]["status"] == "completed"
        for figure, value in run["metrics"].items():
            assert found[name]["metrics"][figure] == pytest.approx(value, rel=1e-5), (name, figure)


SEARCH = (
    "model=vae",
    *SHORT,
    "hydra/sweeper=search",
    "sweep=search",
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
)


@needs("hydra_plugins.hydra_optuna_sweeper")
def test_a_search_is_kept_on_disk_and_is_done_when_it_has_its_trials(tmp_path):
    first = _sweep(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2")
    assert len(first) == 2
    assert _sweep(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2") == first
    more = _sweep(tmp_path, *SEARCH, "hydra.sweeper.n_trials=3")
    assert len(more) == 3
    assert first.items() <= more.items()


@needs("hydra_plugins.hydra_optuna_sweeper")
def test_a_killed_search_takes_up_the_trial_that_it_was_at(tmp_path):
    search = (*SEARCH, "hydra.sweeper.n_trials=3")
    with _start(tmp_path, *search) as process:
        while len(begun := _names(tmp_path)) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    runs = _sweep(tmp_path, *search)
    assert runs.keys() == _names(tmp_path)
    assert begun <= runs.keys()
    assert [run["status"] for run in runs.values()] == ["completed"] * 3


@needs("hydra_plugins.hydra_optuna_sweeper")
def test_two_searches_side_by_side_do_no_trial_twice_and_lose_none(tmp_path):
    search = (*SEARCH, "hydra.sweeper.n_trials=3")
    with _start(tmp_path, *search) as one, _start(tmp_path, *search) as other:
        outputs = [process.communicate(timeout=400)[0] for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], outputs
    runs = _runs(tmp_path)
    assert 3 <= len(runs) <= 6
    assert {run["status"] for run in runs.values()} == {"completed"}
    with contextlib.closing(sqlite3.connect(tmp_path / "sweeps/search/study.db")) as study:
        states = [state for (state,) in study.execute("SELECT state FROM trials")]
        proposed = [lr for (lr,) in study.execute("SELECT param_value FROM trial_params")]
    assert set(states) == {"COMPLETE"}
    assert len(set(proposed)) == len(states) == len(runs)


def _names(logs):
    return {path.parent.name for path in (logs / "sweeps").glob("*/*/checkpoints")}
