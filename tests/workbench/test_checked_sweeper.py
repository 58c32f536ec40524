"""Jobs of a sweep are composed and checked once, and launched only if they are not done."""

import dataclasses
from types import SimpleNamespace

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from toy import PROJECT, Line, assemble
from workbench import project
from workbench.config import trials
from workbench.config.identity import identity
from workbench.errors import ConfigError
from workbench.jobs import files
from workbench.jobs.command_line import read_command_line
from workbench.runs.folder import RunFolder
from workbench.sweeps.job import job_path
from workbench.sweeps.sweep import launch_all
from workbench.training.run import run


@pytest.fixture
def with_project(monkeypatch):
    """A function that replaces fields of the toy project."""

    def change(**changes):
        monkeypatch.setattr(project, "_current", [dataclasses.replace(PROJECT, **changes)])

    return change


class Recorder:
    """A launcher that records its jobs."""

    def __init__(self):
        self.batches = []

    def launch(self, batch, initial_job_idx):
        self.batches.append((initial_job_idx, [job[1] for job in batch]))
        return [SimpleNamespace(return_value=None) for _ in batch]


def sweep(tmp_path, *arguments):
    return read_command_line("train", ["-m", f"log_dir={tmp_path}/logs", *arguments])


def finish(job):
    folder = RunFolder.at(job_path(job))
    folder.write_metrics(status="completed", identity=identity(job.config))


def test_a_grid_of_plain_values_is_composed_once(monkeypatch, tmp_path):
    composed = []

    def counting(*arguments, **options):
        composed.append(arguments)
        return hydra.compose(*arguments, **options)

    monkeypatch.setattr(files, "compose", counting)
    jobs = sweep(tmp_path, "seed=range(0,4)", "optimizer.lr=0.1,0.2").jobs
    assert len(jobs) == 8
    assert len(composed) == 1
    assert [job.config["seed"] for job in jobs] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [job.config["optimizer"]["lr"] for job in jobs[:2]] == [0.1, 0.2]


def test_a_large_module_is_checked_on_the_meta_device_once_for_all_seeds(
    with_project, monkeypatch, tmp_path
):
    devices = []

    def noting(config, data):
        module = assemble(config, data)
        devices.append((config["data"]["noise"], module.line.weight.device.type))
        return module

    with_project(assemble=noting)
    sweep(tmp_path, "seed=range(0,5)", "data.noise=0.1,0.2")
    assert devices == [(0.1, "meta"), (0.2, "cpu")]  # once known to be small, the CPU is faster
    devices.clear()
    monkeypatch.setattr(trials, "SMALL", 1)
    sweep(tmp_path, "seed=range(0,5)", "data.noise=0.1,0.2")
    assert devices == [(0.1, "meta"), (0.2, "meta")]


def test_a_module_that_reads_its_weights_is_checked_on_the_cpu(with_project, tmp_path):
    devices = []

    def reading(config, data):
        module = assemble(config, data)
        devices.append(module.line.weight.device.type)
        if module.line.weight.isnan().any().item() or config["model"]["in_features"] == 2:
            raise ConfigError("model.in_features=2: there is one")
        return module

    with_project(assemble=reading)
    assert len(sweep(tmp_path, "seed=0,1").jobs) == 2
    assert devices == ["meta", "cpu"]
    with pytest.raises(ConfigError, match=r"model.in_features=2: there is one  \(from model.in_fe"):
        sweep(tmp_path, "model.in_features=1,2")


class Unsteady(Line):
    """A module whose step fails on the CPU, but not on the device "meta"."""

    def training_step(self, batch, batch_idx):
        torch.linalg.cholesky(-self.line.weight)
        return super().training_step(batch, batch_idx)


def test_an_error_that_depends_on_weights_leaves_no_folder(with_project, tmp_path):
    def unsteady(config, data):
        line = assemble(config, data)
        torch.nn.init.ones_(line.line.weight)
        return Unsteady(line.line, optimizer=line.optimizer)

    with_project(assemble=unsteady, try_batch=lambda module, data: (["loss"], []))
    (job,) = sweep(tmp_path, "seed=0").jobs
    with pytest.raises(Exception, match="positive-definite"):
        run(job)
    assert not list(tmp_path.glob("logs/*/*/config.yaml"))


def test_every_problem_of_every_job_is_reported_once_with_its_override(tmp_path):
    with pytest.raises(ConfigError) as error:
        sweep(tmp_path, "seed=0,-1,x", "model.in_features=1,0.5", "optimizer.lr=0.1,-1", "tset=1")
    lines = str(error.value).splitlines()
    assert len(lines) == len(set(lines))
    for fault in ("seed=-1", "seed='x'", "model.in_features=0.5", "tset"):
        assert any(line.startswith(fault) and "(from " in line for line in lines), fault


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ("strategy=nope,auto", "trainer.strategy=nope: there is no such strategy"),
        ("accelerator=nope,cpu", "trainer.accelerator=nope: there are auto, gpu, cpu, "),
        ("gradient_clip_algorithm=nope,norm", "trainer.gradient_clip_algorithm: `gradient_clip_"),
        ("max_time=nope,null", "trainer.max_time: `Timer(duration='nope')` is not"),
        ("profiler=nope,null", "trainer.profiler: When passing string value for the `profiler`"),
        ("limit_train_batches=0,1", "trainer.limit_train_batches=0: should be more than 0"),
        ("limit_train_batches=0.0,1", "trainer.limit_train_batches=0.0: should be more than 0"),
    ],
)
def test_a_trainer_that_cannot_be_built_is_refused_before_any_job_starts(values, fault, tmp_path):
    with pytest.raises(ConfigError) as error:
        sweep(tmp_path, f"++trainer.{values}")
    (line,) = str(error.value).splitlines()
    assert line.startswith(fault)
    assert line.endswith(f"(from trainer.{values.partition(',')[0]})")


def test_monitoring_an_unknown_metric_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="monitor=nope: there is no such metric; there are loss"):
        sweep(tmp_path, "monitor=nope,loss")


def test_lazy_layers_are_refused(tmp_path):
    model = "model={_target_:torch.nn.LazyLinear,out_features:1}"
    with pytest.raises(ConfigError, match="model: has lazy layers"):
        sweep(tmp_path, model, "~model.in_features")


def test_finished_jobs_are_not_launched_again(tmp_path, capsys):
    command = sweep(tmp_path, "seed=0,1,2,3")
    finish(command.jobs[1])
    launcher = Recorder()
    assert launch_all(command, launcher, None) == 0
    assert launcher.batches == [(0, ["seed=0", "seed=2", "seed=3"])]
    assert "seed=1   is done already" in capsys.readouterr().out
    launcher = Recorder()
    launch_all(command, launcher, 2)
    assert launcher.batches == [(0, ["seed=0", "seed=2"]), (2, ["seed=3"])]
    for job in command.jobs:
        finish(job)
    launcher = Recorder()
    launch_all(command, launcher, None)
    assert launcher.batches == []


def test_jobs_that_depend_on_their_number_keep_it(tmp_path):
    command = sweep(tmp_path, "seed=5,6", "hydra.sweep.subdir=${hydra.job.num}")
    finish(command.jobs[0])
    launcher = Recorder()
    launch_all(command, launcher, None)
    assert launcher.batches == [(0, ["seed=5", "seed=6"])]


@pytest.mark.slow
def test_the_sweeper_checks_the_jobs_of_other_scripts(monkeypatch, tmp_path):
    seen = []

    @hydra.main(version_base="1.3", config_path=str(PROJECT.configs), config_name="train")
    def train(cfg):
        seen.append((cfg.seed, cfg.sweep, HydraConfig.get().job.num))

    monkeypatch.setattr("sys.argv", ["train.py", "-m", "seed=1,2", f"log_dir={tmp_path}"])
    monkeypatch.setenv("HYDRA_MAIN_MODULE", "train")
    train()
    assert seen == [(1, "seed", 0), (2, "seed", 1)]
    assert [path.name for path in (tmp_path / "sweeps").iterdir()] == ["seed"]
    monkeypatch.setattr("sys.argv", ["train.py", "-m", "seed=1,-2", f"log_dir={tmp_path}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigError, match="seed=-2: should be 0 or more"):
        train()
