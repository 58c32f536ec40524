"""Settings of this machine in configs/local, for all scripts or only for training."""

import dataclasses
import shutil

import pytest
from hydra import compose, initialize_config_dir

from musigma.paths import CONFIGS
from workbench import project
from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line

SCRIPTS = ("train", "evaluate", "export", "predict", "report", "benchmark")


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A copy of all configs, without configs/local."""
    copy = shutil.copytree(CONFIGS, tmp_path / "configs", ignore=shutil.ignore_patterns("local"))
    (copy / "local").mkdir()
    here = dataclasses.replace(project.the_project(), root=tmp_path)
    monkeypatch.setattr(project, "_current", [here])
    return copy


def composed(configs, script, *overrides):
    with initialize_config_dir(str(configs), version_base="1.3"):
        return compose(script, list(overrides))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_reads_the_local_default_settings(script, configs):
    assert composed(configs, script).log_dir.endswith("logs")
    (configs / "local" / "default.yaml").write_text("log_dir: /scratch/logs\n")
    assert composed(configs, script).log_dir == "/scratch/logs"
    assert composed(configs, script, "log_dir=here").log_dir == "here"


def test_a_tilde_in_local_settings_is_the_home_folder(configs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (configs / "local" / "default.yaml").write_text("log_dir: ~/logs\n")
    (configs / "local" / "train.yaml").write_text("hydra: {sweep: {dir: ~/sweeps}}\n")
    chosen = read_command_line("train", []).composed
    assert chosen.log_dir == f"{tmp_path}/logs"
    assert chosen.hydra.sweep.dir == f"{tmp_path}/sweeps"


def test_local_training_settings_may_override_config_groups(configs):
    text = "defaults:\n  - override /trainer: cpu\ndata:\n  root: /scratch/data\n"
    (configs / "local" / "train.yaml").write_text(text)
    config = composed(configs, "train", "experiment=notebook")
    assert (config.data.root, config.trainer.accelerator) == ("/scratch/data", "cpu")
    assert composed(configs, "train", "trainer=auto").trainer.accelerator == "auto"
    assert not composed(configs, "evaluate").data


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mistake_in_local_settings_is_reported_with_the_file(script, configs):
    path = configs / "local" / "default.yaml"
    path.write_text("log_dirs: /scratch/logs\n")
    with pytest.raises(ConfigError) as error:
        read_command_line(script, [])
    (line,) = str(error.value).splitlines()
    assert line.startswith("log_dirs: the config has no argument log_dirs; did you mean log_dir?")
    assert line.endswith("(from configs/local/default.yaml)")
