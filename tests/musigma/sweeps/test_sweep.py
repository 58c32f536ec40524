"""A sweep does every job once, whatever happens to it."""

import json
import random
import time

import pytest

from warm import start
from workbench.config.identity import identity
from workbench.config.launch import job_name, short_names
from workbench.runs.folder import RunFolder

pytestmark = pytest.mark.slow

SMALL = (
    "data.source=sample",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=2",
    "model.network.encoder_sizes=[16]",
    "model.network.decoder_sizes=[16]",
    "+trainer.limit_train_batches=4",
    "callbacks.image_panel=null",
    "callbacks.latent_panel=null",
)


@pytest.fixture
def sweep(tmp_path):
    """Arguments → a process that runs `scripts/train.py -m` with them, and the sweeps' folder."""

    def start_sweep(*arguments, logs="logs"):
        options = ("-m", *SMALL, *arguments, f"log_dir={tmp_path}/{logs}")
        (tmp_path / "said").touch()
        process = start(["scripts/train.py", *options], [tmp_path / "said"] * 2)
        return process, tmp_path / logs / "sweeps"

    return start_sweep


def _metrics(folder):
    return {
        path.parent.name: json.loads(path.read_text())["metrics"]
        for path in folder.glob("*/metrics.json")
    }


def test_a_sweep_killed_three_times_ends_as_one_that_was_not(sweep):
    dice = random.Random(0)
    jobs = ("model=vae,beta_vae", "seed=0,1,2", "model.latent_dim=2,3")
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
    expected = _metrics(whole / "model,seed,latent_dim")
    assert len(expected) == 12
    assert _metrics(folder / "model,seed,latent_dim") == expected
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())


def test_the_same_command_again_does_nothing_and_another_one_adds(sweep, tmp_path):
    process, folder = sweep("model=vae", "seed=0,1", "sweep=mine")
    process.join()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.ckpt")}
    jobs = {path.name for path in (folder / "mine").iterdir() if path.is_dir()}
    assert jobs == {"seed=0", "seed=1"}
    process, _ = sweep("model=vae", "seed=0,1,2", "sweep=mine", "logger=csv", "name=other")
    process.join()
    said = (tmp_path / "said").read_text()
    assert "2 done, 1 new" in said
    assert "seed=0   is done already" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / "mine" / "seed=2" / "checkpoints" / "last.ckpt").exists()


def test_a_job_whose_data_fell_back_to_the_sample_is_done_all_the_same(sweep, tmp_path):
    nowhere = ("data.source=files", f"data.root={tmp_path}/none", "data.fallback=sample")
    for _ in range(2):
        process, folder = sweep("seed=0", *nowhere, "data.mirrors=[http://127.0.0.1:9/]")
        process.join()
    assert "is done already" in (tmp_path / "said").read_text()
    (path,) = folder.glob("*/*/config.yaml")
    assert RunFolder(path.parent).read_config()["data"]["source"] == "sample"


def test_jobs_of_one_name_and_other_settings_do_not_collide(sweep):
    for epochs in (1, 2):
        process, folder = sweep("model=vae,autoencoder", f"trainer.max_epochs={epochs}")
        process.join()
    names = sorted(path.name for path in (folder / "model").iterdir() if path.is_dir())
    assert len(names) == 4
    assert names[0] == "model=autoencoder"
    assert names[1].startswith("model=autoencoder_")


def test_failing_jobs_are_recorded_and_the_others_go_on(sweep, tmp_path):
    limits = "trainer.limit_val_batches=1.0,0.5"  # 0.5 of one batch is none
    process, folder = sweep("model=vae", limits, "optimizer.lr=1e-3,1e30")
    process.join()
    assert process.exitcode == 1
    status = {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in folder.glob("*/*/metrics.json")
    }
    assert status == {
        "limit_val_batches=1.0,lr=0.001": "completed",
        "limit_val_batches=1.0,lr=1e+30": "failed",
        "limit_val_batches=0.5,lr=0.001": "failed",
        "limit_val_batches=0.5,lr=1e+30": "failed",
    }
    (raised,) = folder.glob("*/limit_val_batches=0.5,lr=0.001/failure.txt")
    assert "Traceback" in raised.read_text()
    assert "of 1 batches that is none" in raised.read_text()
    said = (tmp_path / "said").read_text()
    assert "3 of 4 jobs failed; the same command tries them again." in said
    assert "were not finite" in said


def test_a_wrong_job_stops_the_sweep_before_it_starts(sweep, tmp_path):
    process, folder = sweep("model=vae,vea", "seed=0")
    process.join()
    assert process.exitcode == 2
    assert not folder.exists()
    assert "did you mean vae?" in (tmp_path / "said").read_text()


def test_two_processes_at_one_sweep_do_every_job_once(sweep, tmp_path):
    jobs = ("model=vae", "seed=range(0,6)", "trainer.max_epochs=6")
    first, folder = sweep(*jobs)
    second, _ = sweep(*jobs)
    first.join()
    second.join()
    assert (first.exitcode, second.exitcode) == (0, 0)
    logs = [path.read_text() for path in folder.glob("*/*/train.log")]
    assert len(logs) == 6
    assert all(log.count("epoch 6/6") == 1 for log in logs)


def test_names_are_short_where_that_is_clear():
    varied = ["model", "model.objective.beta", "seed"]
    assert job_name(["model=vae", "model.objective.beta=4", "x=1", "seed=2"], varied) == (
        "model=vae,beta=4,seed=2"
    )
    assert short_names(["model.network.activation", "data.activation"]) == [
        "model.network.activation",
        "data.activation",
    ]
    assert job_name(["x=1"], []) == "default"


def test_identity_is_what_changes_figures_and_nothing_else(compose_launch):
    def of(*overrides):
        return identity(compose_launch("model=vae", *overrides).config)

    same = ("logger=csv", "log_dir=elsewhere", "callbacks.progress=null", "data.root=/data")
    assert {of(override) for override in same} == {of()}
    other = ("seed=1", "optimizer.lr=0.1", "model.latent_dim=3", "trainer.max_epochs=3")
    assert len({of(), *(of(override) for override in other)}) == 5


def test_a_folder_that_was_made_and_never_written_is_used(sweep, tmp_path):
    path = tmp_path / "logs" / "sweeps" / "seed" / "seed=0"
    (path / "checkpoints").mkdir(parents=True)
    process, _ = sweep("model=vae", "seed=0,1")
    process.join()
    assert RunFolder.open(path).read_metrics()["status"] == "completed"
