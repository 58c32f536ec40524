"""The records of a job in its folder."""

import pytest

from workbench.errors import RunError
from workbench.runs.folder import RunFolder
from workbench.sweeps import job
from workbench.training.launch import Launch


def test_a_retried_job_is_recorded_as_running_without_its_old_error(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(job, "run", lambda _, folder, judge: found.append(folder.read_metrics()))
    config = {"trainer": {"accelerator": "cpu"}, "log_dir": str(tmp_path)}
    RunFolder.at(tmp_path / "seed=0").write_metrics(status="failed", error="ValueError: at first")
    job.run_job(Launch(config, [], tmp_path, "seed=0", in_sweep=True))
    assert found[0]["status"] == "running"
    assert "error" not in found[0]


def test_a_full_disk_is_reported_in_one_message_and_the_folder_is_released(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "_write", full)
    config = {"trainer": {"accelerator": "cpu"}, "log_dir": str(tmp_path)}
    with pytest.raises(RunError, match=r"could not be written: .*No space.*\n.*same command"):
        job.run_job(Launch(config, [], tmp_path, "seed=0", in_sweep=True))
    RunFolder(tmp_path / "seed=0").claim()  # it was released
