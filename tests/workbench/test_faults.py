"""Damage and mistakes around a run give one clear error and lose nothing that was written."""

import errno
import json
import signal
import time
from pathlib import Path

import pytest
import torch

from script_server import Started
from workbench.errors import ConfigError, DataError, RunError
from workbench.jobs.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.runs.resume import newest_checkpoint
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run


def _flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["empty", "cut", "a flipped bit", "missing"])
def test_a_run_resumes_from_the_previous_checkpoint_if_the_last_is_damaged(
    damage, trained, compose_launch, capsys
):
    whole, folder = trained("trainer.max_epochs=3"), trained()
    last = folder.checkpoint("last")
    if damage == "empty":
        last.write_bytes(b"")
    elif damage == "cut":
        last.write_bytes(last.read_bytes()[:-1000])
    elif damage == "a flipped bit":
        _flip_a_byte(last)
    else:
        last.unlink()
    capsys.readouterr()
    run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=3"))
    output = capsys.readouterr().out
    assert "previous.ckpt instead" in output
    assert ("last.ckpt" in output) == (damage != "missing")
    expected = load_checkpoint(whole.checkpoint("last"))["state_dict"]
    found = load_checkpoint(folder.checkpoint("last"))["state_dict"]
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_run_without_an_intact_checkpoint_cannot_be_resumed(trained):
    folder = trained()
    for name in ("last", "previous", "best"):
        _flip_a_byte(folder.checkpoint(name))
    with pytest.raises(RunError, match="cannot be resumed from any checkpoint"):
        newest_checkpoint(folder, lambda *_: None)


def test_a_running_run_is_not_resumed(trained, compose_launch):
    folder = trained()
    other = RunFolder.open(folder.path)
    other.claim()
    with pytest.raises(RunError, match="belongs to a run that is still running"):
        run(compose_launch(quote(f"resume={folder.path}")))
    other.release()
    run(compose_launch(quote(f"resume={folder.path}")))


@pytest.mark.slow
def test_the_claim_of_a_killed_process_is_released(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    code = (
        "import sys, time; from pathlib import Path; from workbench.runs.folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1])); folder.claim(); print('claimed', flush=True)\n"
        "time.sleep(60)"
    )
    started = Started("-c", code, str(folder.path))
    started.wait_for("claimed\n")
    with pytest.raises(RunError, match="still running"):
        folder.claim()
    started.process.kill()
    started.finish()
    folder.claim()
    folder.release()


def test_the_status_is_still_recorded_on_a_full_disk(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path, "run")
    folder.write_metrics(status="running", metrics={"a": 1})

    def full(name, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "_write", full)
    folder.write_metrics(status="failed", metrics=None)
    assert json.loads((folder.path / "metrics.json").read_text())["status"] == "failed"
    with pytest.raises(OSError, match="No space left"):
        folder.write_metrics(metrics={"a": "x" * 100_000})
    assert folder.read_metrics()["status"] == "failed"


def test_damaged_data_stops_a_resume_before_anything_is_written(
    trained, compose_launch, monkeypatch
):
    folder = trained()
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    def damaged(self):
        raise DataError("points.txt has 17 bytes, and should have 47")

    monkeypatch.setattr("toy.Points.prepare_data", damaged)
    with pytest.raises(DataError, match="17 bytes"):
        run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=5"))
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert after == before


def test_a_clock_that_was_set_back_does_not_disturb_a_resume(trained, compose_launch, monkeypatch):
    whole, folder = trained("trainer.max_epochs=3"), trained()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 7 * 24 * 3600)
    run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=3"))
    expected = load_checkpoint(whole.checkpoint("last"))["state_dict"]
    found = load_checkpoint(folder.checkpoint("last"))["state_dict"]
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert folder.read_metrics()["seconds"] > 0


@pytest.mark.parametrize("text", ["{", "a: [", "just text", ""])
def test_a_damaged_config_is_reported(text, trained, compose_launch):
    folder = trained()
    (folder.path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml"):
        run(compose_launch(quote(f"resume={folder.path}")))


def test_an_edited_config_is_checked_when_the_run_is_resumed(trained, compose_launch):
    folder = trained()
    path = folder.path / "config.yaml"
    path.write_text(path.read_text().replace("torch.nn.Linear", "os.system"))
    with pytest.raises(ConfigError, match=r"os\.system is not allowed"):
        run(compose_launch(quote(f"resume={folder.path}")))


@pytest.mark.slow
def test_a_second_process_cannot_resume_a_run_in_training(start_script, run_script, only_run):
    first = start_script("trainer.max_epochs=3000")
    first.wait_for("1/3000")
    second = run_script("resume=latest")
    assert second.returncode == 2
    assert "belongs to a run that is still running" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.finish(60)
    assert only_run().read_metrics()["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="Linux")
@pytest.mark.parametrize(
    "arguments", [["hydra.run.dir=/proc/runs/mine"], ["-m", "seed=1,2", "hydra.sweep.dir=/proc/x"]]
)
def test_a_run_folder_that_cannot_be_made_is_reported_without_a_traceback(arguments, run_script):
    done = run_script(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("\n/proc cannot be written: ")
    assert "Choose another place with " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_run_that_cannot_be_written_leaves_no_folder_and_is_not_to_be_resumed(
    run_here, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workbench.training.run.record_start", full)
    with pytest.raises(RunError, match="Free some space, or choose another place with log_dir"):
        run_here()
    assert not list(tmp_path.glob("logs/runs/*"))
