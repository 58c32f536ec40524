"""What a job's folder says of it."""

import pytest

from workbench.config.launch import Launch
from workbench.errors import RunError
from workbench.runs.folder import RunFolder
from workbench.sweeps import job


def test_a_job_that_is_tried_again_runs_from_its_first_moment(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(job, "run", lambda _, folder, judge: found.append(folder.read_metrics()))
    config = {"trainer": {"accelerator": "cpu"}, "log_dir": str(tmp_path)}
    RunFolder.at(tmp_path / "seed=0").write_metrics(status="failed", error="ValueError: at first")
    job.run_job(Launch(config, [], tmp_path, "seed=0", in_sweep=True))
    assert found[0]["status"] == "running"
    assert "error" not in found[0]


def test_a_full_disk_ends_a_sweep_in_a_line(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "_write", full)
    config = {"trainer": {"accelerator": "cpu"}, "log_dir": str(tmp_path)}
    with pytest.raises(RunError, match=r"could not be written: .*No space.*\n.*same command"):
        job.run_job(Launch(config, [], tmp_path, "seed=0", in_sweep=True))
    RunFolder(tmp_path / "seed=0").claim()  # nobody holds it
