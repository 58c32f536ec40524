"""Ctrl-C while a job or its tools are prepared."""

import signal
import subprocess
import sys
import textwrap

import pytest

from workbench.errors import ConfigError, plain_errors
from workbench.runs.folder import RunFolder
from workbench.sweeps import job
from workbench.sweeps.job import job_path, run_job
from workbench.training.run import run


def test_a_job_interrupted_before_its_first_step_leaves_no_folder(compose_small, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "run", stop)
    launch = compose_small()
    with pytest.raises(KeyboardInterrupt):
        run_job(launch)
    assert not job_path(launch).exists()


def test_a_job_whose_output_is_closed_has_not_failed(compose_small, monkeypatch):
    def close(*_):  # as `print` does once the reader of the output is gone
        raise BrokenPipeError

    monkeypatch.setattr("workbench.training.records.show_results", close)
    launch = compose_small()
    with pytest.raises(BrokenPipeError):
        run_job(launch)
    assert RunFolder(job_path(launch)).read_metrics()["status"] == "completed"
    assert not (job_path(launch) / "failure.txt").exists()


def test_a_run_whose_output_is_closed_in_training_is_interrupted(compose_small, monkeypatch):
    def close(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("workbench.training.run.train", close)
    launch = compose_small()
    with pytest.raises(BrokenPipeError):
        run_job(launch)
    metrics = RunFolder(job_path(launch)).read_metrics()
    assert metrics["status"] == "interrupted"
    assert "error" not in metrics


def test_an_error_caused_by_ctrl_c_prints_stopped_and_exits_with_130(monkeypatch, capsys):
    monkeypatch.setattr("workbench.errors._interrupts", [signal.SIGINT])
    with pytest.raises(SystemExit, match="130"), plain_errors():
        raise ConfigError("half a config")
    assert capsys.readouterr().err == "\nStopped.\n"


def test_ctrl_c_before_work_begins_cannot_be_swallowed():
    code = """
        import os, signal
        from workbench.errors import leave_at_interrupts
        leave_at_interrupts()
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            pass
        print("went on")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nStopped.\n")


def test_escape_codes_are_removed_from_error_messages(capsys):
    with pytest.raises(SystemExit, match="2"), plain_errors():
        raise ConfigError("name=\x1b]0;theirs\x07: ünï\nand a line")
    assert capsys.readouterr().err == "\nname=\ufffd]0;theirs\ufffd: ünï\nand a line\n"


def test_ctrl_c_during_the_rehearsal_leaves_no_folder(compose_small, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.training.rehearsal.rehearse", stop)
    launch = compose_small(f"hydra.run.dir={tmp_path}/mine")
    (tmp_path / "mine").mkdir()  # as Hydra does
    with pytest.raises(KeyboardInterrupt):
        run(launch)
    assert not (tmp_path / "mine").exists()
    assert not [*tmp_path.glob("logs/runs/*")]


def test_ctrl_c_while_a_logger_connects_leaves_no_folder(compose_small, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.training.run.open_trackers", stop)
    with pytest.raises(KeyboardInterrupt):
        run(compose_small())
    assert not [*tmp_path.glob("logs/runs/*")]
