"""The workbench trains, sweeps, resumes and reports on a project of its own, a straight line."""

import subprocess
import sys

import pytest
import torch

from toy import PROJECT, Line
from workbench.config.check import check_config
from workbench.errors import ConfigError
from workbench.project import the_project
from workbench.runs.weights import load_checkpoint
from workbench.sweeps.report import report


def weights_of(folder):
    return load_checkpoint(folder.checkpoint("last"))["state_dict"]


@pytest.mark.slow
def test_a_run_fits_the_line_and_records_config_metrics_and_units(run_script, only_run):
    done = run_script()
    assert done.returncode == 0, done.stderr
    run = only_run()
    line = weights_of(run)
    assert float(line["line.weight"]) == pytest.approx(3, abs=0.1)
    assert float(line["line.bias"]) == pytest.approx(1, abs=0.1)
    known = run.read_metrics()
    assert known["status"] == "completed"
    assert known["metrics"]["test/loss"] == pytest.approx(0.01, abs=0.005)  # the noise's variance
    assert known["meanings"]["metrics"]["loss"]["unit"] == "squared"
    assert run.read_config()["optimizer"]["lr"] == 0.1
    assert "squared" in done.stdout


def test_a_module_may_take_gradients_in_its_test(run_here, monkeypatch):
    def test_step(self, batch, batch_idx):
        with torch.enable_grad():
            x = batch[0].clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.line(x).sum(), x)
        self.add("test", {"loss": slope.squeeze(1)})

    monkeypatch.setattr(Line, "test_step", test_step)
    run = run_here()
    slope = load_checkpoint(run.checkpoint("best"))["state_dict"]["line.weight"].item()
    assert run.read_metrics()["metrics"]["test/loss"] == pytest.approx(slope)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(start_script, run_script, run_here, only_run):
    started = start_script("trainer.max_epochs=50")
    started.wait_for("epoch  5/")
    started.send_signal(9)
    started.finish()
    run = only_run()
    assert run.read_metrics()["status"] == "running"
    assert run_script("resume=latest").returncode == 0
    whole = run_here("trainer.max_epochs=50")
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(run)[name])


@pytest.mark.slow
def test_a_sweep_runs_each_job_once_and_its_report_names_the_best(run_script, tmp_path):
    sweep = ("-m", "sweep=rates", "optimizer.lr=0.1,0.001", "seed=0,1", "trainer.max_epochs=3")
    assert run_script(*sweep).returncode == 0
    again = run_script(*sweep)
    assert again.returncode == 0
    assert "4 done" in again.stdout
    page = report("rates", tmp_path / "logs" / "sweeps").read_text("utf-8")
    assert "lr=0.1: test/loss" in page
    assert "(lower is better)" in page
    assert "standard error" in page
    assert "over the same 64 test examples" in page
    assert "python scripts/train.py -m sweep=rates optimizer.lr=0.001,0.1 seed=0,1" in page


@pytest.mark.slow
def test_a_misspelt_setting_is_reported_before_anything_starts(run_script, tmp_path):
    done = run_script("optimizer.lrr=1")
    assert done.returncode == 2
    assert "did you mean lr?" in done.stderr + done.stdout
    assert not (tmp_path / "logs").exists()
    with pytest.raises(ConfigError, match="the config has no argument colour"):
        check_config({"colour": "red"})


def test_the_project_is_the_one_that_was_handed_over():
    assert the_project() is PROJECT


def test_a_missing_project_is_reported():
    code = "from workbench.project import the_project; the_project()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no project was handed over" in done.stderr
