"""A sweep runs every job once, whatever interrupts it."""

import json
import random
import time

import pytest

from script_server import start
from toy import PROJECT
from workbench.runs.folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(tmp_path):
    """Arguments → a process that runs `scripts/train.py -m`, and the folder of the sweeps."""

    def start_sweep(*arguments, logs="logs"):
        options = ("-m", "trainer.max_epochs=2", *arguments, f"log_dir={tmp_path}/{logs}")
        (tmp_path / "output").touch()
        process = start(["scripts/train.py", *options], [tmp_path / "output"] * 2, PROJECT.root)
        return process, tmp_path / logs / "sweeps"

    return start_sweep


def _metrics(folder):
    return {
        path.parent.name: json.loads(path.read_text())["metrics"]
        for path in folder.glob("*/metrics.json")
    }


def test_a_sweep_killed_three_times_ends_with_the_metrics_of_an_uninterrupted_one(sweep):
    dice = random.Random(0)
    jobs = ("optimizer.lr=0.1,0.01", "seed=0,1,2")
    started = time.monotonic()
    process, whole = sweep(*jobs, logs="whole")
    process.join()
    seconds = time.monotonic() - started
    assert process.exitcode == 0
    for _ in range(3):
        process, folder = sweep(*jobs)
        process.join(dice.uniform(0.2, 0.5) * seconds)
        process.kill()
        process.join()
    done = {
        path: path.stat().st_mtime_ns
        for path in folder.glob("*/*/metrics.json")
        if json.loads(path.read_text())["status"] == "completed"
    }
    process, folder = sweep(*jobs)
    process.join()
    assert process.exitcode == 0
    expected = _metrics(whole / "lr,seed")
    assert len(expected) == 6
    assert _metrics(folder / "lr,seed") == expected
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())


def test_finished_jobs_are_skipped_and_new_ones_are_added(sweep, tmp_path):
    process, folder = sweep("seed=0,1", "sweep=mine")
    process.join()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.ckpt")}
    jobs = {path.name for path in (folder / "mine").iterdir() if path.is_dir()}
    assert jobs == {"seed=0", "seed=1"}
    process, _ = sweep("seed=0,1,2", "sweep=mine", "callbacks.progress=null", "name=other")
    process.join()
    output = (tmp_path / "output").read_text()
    assert "2 done, 1 new" in output
    assert "seed=0   is done already" in output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / "mine" / "seed=2" / "checkpoints" / "last.ckpt").exists()


def test_jobs_with_one_name_but_different_settings_get_different_folders(sweep):
    for epochs in (1, 2):
        process, folder = sweep("data.noise=0.1,0.2", f"trainer.max_epochs={epochs}")
        process.join()
    names = sorted(path.name for path in (folder / "noise").iterdir() if path.is_dir())
    assert len(names) == 4
    assert names[0] == "noise=0.1"
    assert names[1].startswith("noise=0.1_")


def test_failed_jobs_are_recorded_and_the_others_still_run(sweep, tmp_path):
    stop = "+callbacks.finite._target_=workbench.callbacks.StopWhenNotFinite"
    limits = "+trainer.limit_val_batches=1.0,0.1"  # 0.1 of four batches leaves none
    process, folder = sweep(stop, limits, "optimizer.lr=0.1,1e30")
    process.join()
    assert process.exitcode == 1
    status = {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in folder.glob("*/*/metrics.json")
    }
    assert status == {
        "limit_val_batches=1.0,lr=0.1": "completed",
        "limit_val_batches=1.0,lr=1e+30": "failed",
        "limit_val_batches=0.1,lr=0.1": "failed",
        "limit_val_batches=0.1,lr=1e+30": "failed",
    }
    (raised,) = folder.glob("*/limit_val_batches=0.1,lr=0.1/failure.txt")
    assert "Traceback" in raised.read_text()
    assert "leaves none of 4 validation batches" in raised.read_text()
    output = (tmp_path / "output").read_text()
    assert "3 of 4 jobs failed; the same command tries them again." in output
    assert "were not finite" in output


def test_a_job_with_a_config_error_stops_the_sweep_before_it_starts(sweep, tmp_path):
    process, folder = sweep("optimizer.lr=0.1,fast", "seed=0")
    process.join()
    assert process.exitcode == 2
    assert not folder.exists()
    assert "optimizer.lr='fast'" in (tmp_path / "output").read_text()


def test_two_processes_on_one_sweep_run_every_job_once(sweep, tmp_path):
    jobs = ("seed=range(0,6)", "trainer.max_epochs=6")
    first, folder = sweep(*jobs)
    second, _ = sweep(*jobs)
    first.join()
    second.join()
    assert (first.exitcode, second.exitcode) == (0, 0)
    logs = [path.read_text() for path in folder.glob("*/*/train.log")]
    assert len(logs) == 6
    assert all(log.count("epoch 6/6") == 1 for log in logs)


def test_an_empty_job_folder_is_used(sweep, tmp_path):
    path = tmp_path / "logs" / "sweeps" / "seed" / "seed=0"
    (path / "checkpoints").mkdir(parents=True)
    process, _ = sweep("seed=0,1")
    process.join()
    assert RunFolder.open(path).read_metrics()["status"] == "completed"
