"""Every option and setting of Hydra and every malformed override is obeyed or refused."""

import json
import os

import pytest
from hydra.conf import HydraConf
from omegaconf import OmegaConf

from faults import faults_of
from workbench.config.naming import cut
from workbench.jobs.command_line import read_command_line
from workbench.jobs.launch import check_folder
from workbench.jobs.options import Parser
from workbench.jobs.quoting import quoted

OBEYED = {
    "--cfg": ["--cfg=job"],
    "--config-dir": ["--config-dir=/"],
    "--config-name": ["--config-name=train"],
    "--help": ["--help"],
    "--hydra-help": ["--hydra-help"],
    "--info": ["--info=all"],
    "--multirun": ["--multirun"],
    "--package": ["--cfg=job", "--package=model"],
    "--resolve": ["--cfg=job", "--resolve"],
    "--run": ["--run"],
    "--shell-completion": ["--shell-completion", "install=bash"],
}
REFUSED = {
    "--config-path": (["--config-path=/tmp"], "--config-path replaces all of configs/"),
    "--experimental-rerun": (
        ["--experimental-rerun=x"],
        "--experimental-rerun runs code from a pickle",
    ),
}


def test_every_option_of_hydra_is_obeyed_or_refused():
    options = {a.option_strings[0] for a in Parser()._actions if a.option_strings}
    assert options - {"--version"} == {*OBEYED, *REFUSED}
    for option, typed in OBEYED.items():
        known = vars(read_command_line("train", typed).options)
        assert known[option[2:].replace("-", "_")]
    for typed, fault in REFUSED.values():
        (line,) = faults_of(*typed)
        assert line.startswith(fault)


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        (["--resolve"], "--resolve is for --cfg and --help: add --cfg job"),
        (["--package", "model"], "--package model is for --cfg: add --cfg job"),
        (["--cfg", "job", "--package", "nope"], "--package nope: the config has no such part"),
        (["--shell-completion"], "--shell-completion: add one of install=bash, "),
        (["--run", "-m"], "--run and --multirun cannot be combined: use one of them"),
        (["--config-name", "nope"], "--config-name nope: there is no such file"),
        (["--config-name", "evaluate"], "--config-name evaluate: is the config of scripts/eval"),
        (["--config-dir", "/nope"], "--config-dir /nope: there is no such folder"),
        (["--help", "--config-name", "nope"], "--config-name nope: there is no such file"),
        (["--hydra-help", "seed=1"], "--hydra-help is about Hydra itself: leave out the settings"),
        (["logger"], "logger: is not a setting: write name=value"),
        (["--nope"], "unrecognized arguments: --nope; see --help"),
        (["--cfg", "job", "model=vea"], "model=vea: there is no model of that name"),
        (["--cfg", "job", "--resolve", "name=${x}"], "name: Interpolation key 'x' not found"),
    ],
)
def test_an_option_without_effect_is_refused(typed, fault):
    (line,) = faults_of(*typed)
    assert line.startswith(fault)


def test_a_part_that_has_the_name_of_a_group_can_be_shown():
    command = read_command_line("train", ["--cfg", "job", "--package", "logger"])
    assert command.options.package == "logger"


def test_info_accepts_arguments_that_no_config_file_lists():
    command = read_command_line("train", ["--info", "trainer.gradient_clip_val=1"])
    assert command.options.info == "all"
    assert command.options.overrides == ["++trainer.gradient_clip_val=1"]


SETTINGS = {
    "run": ("hydra.run.dir=/x", None),
    "sweep": ("hydra.sweep.subdir=${hydra.job.num}", "as a single run has hydra.run.dir"),
    "launcher": ("hydra/launcher=basic", "as it is for a sweep, which -m asks for"),
    "sweeper": ("hydra.sweeper.max_batch_size=2", "as it is for a sweep, which -m asks for"),
    "hydra_logging": ("hydra/hydra_logging=default", "as a run keeps its own log"),
    "job_logging": ("hydra/job_logging=default", "as a run keeps its own log"),
    "env": ("hydra.env=x", "as nothing reads it"),
    "mode": ("hydra.mode=foo", "Invalid value 'foo', expected one of [RUN, MULTIRUN]"),
    "searchpath": ("hydra.searchpath=[file:///nope]", "there is no file:///nope; leave it out"),
    "callbacks": ("hydra.callbacks=null", "cannot be null; leave it out"),
    "output_subdir": ("hydra.output_subdir=x", "as a run folder has its config.yaml"),
    "overrides": ("hydra.overrides.task=[x]", "as Hydra writes it"),
    "runtime": ("hydra.runtime.cwd=x", "as Hydra writes it"),
    "verbose": ("hydra.verbose=true", "as a run keeps its own log"),
    "help": ("hydra.help.header=x", "as it is what --help shows"),
    "hydra_help": ("hydra.hydra_help.template=x", "as it is what --help shows"),
    "job": ("hydra.job.nope=x", "Hydra has no such setting"),
    "job.name": ("hydra.job.name=x", "as the settings name= and sweep= name runs"),
    "job.chdir": ("hydra.job.chdir=true", "as a run does not change directory"),
    "job.override_dirname": ("hydra.job.override_dirname=x", "as Hydra writes it"),
    "job.id": ("hydra.job.id=x", "as Hydra writes it"),
    "job.num": ("hydra.job.num=3", "as Hydra writes it"),
    "job.config_name": ("hydra.job.config_name=x", "as Hydra writes it"),
    "job.env_set": ("+hydra.job.env_set.PATH=x", "may not be set by a config"),
    "job.env_copy": ("hydra.job.env_copy=[UNSET]", "UNSET is not set in the environment"),
    "job.config": ("hydra.job.config.override_dirname.kv_sep=_", None),
}


def test_the_table_has_every_setting_of_hydra():
    hydra = OmegaConf.structured(HydraConf)
    job = {f"job.{name}" for name in OmegaConf.to_container(hydra.job)}
    # env is a group of files.
    assert {*map(str, hydra), *job, "env"} - {"defaults"} == set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_hydra_is_obeyed_or_refused(setting):
    typed, fault = SETTINGS[setting]
    if fault is None:
        read_command_line("train", [typed])
    else:
        (line,) = faults_of(typed)
        assert fault in line
        assert typed.partition("=")[0].lstrip("+").replace("/", ".") in line.replace("/", ".")


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("seed = 5", "leave out the spaces around the =: write name=value"),
        (".seed=5", ".seed is not the name of a setting: write name=value"),
        ("=5", "names no setting: write name=value"),
        ("name=$(ls)", "cannot be read: close each bracket and quote, and quote texts"),
        ("seed=choice(1,2)", "add -m to run each of these"),
        ("hydra.run.dir=null", "cannot be null; leave it out"),
        ("resume=", "is empty; give it a value, or leave it out"),
        ("name=", "is empty; give it a value, or leave it out"),
        ("model.network.encoder_sizes._target_=x", "does not fit there"),
    ],
)
def test_a_malformed_override_is_reported_with_its_problem(typed, fault):
    (line, *_) = faults_of("model=vae", typed)
    assert line.startswith(f"{typed}: {fault}")


def test_a_tilde_after_the_equals_sign_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "höme, sweet"))
    typed = ["run=~/a=b", "output=~/x.npz", "input=~x", "log_dir='~/my logs'"]
    command = read_command_line("predict", typed)
    chosen = command.composed
    assert chosen.run == f"{tmp_path}/höme, sweet/a=b"
    assert chosen.output == f"{tmp_path}/höme, sweet/x.npz"
    assert chosen.input == "~x"
    assert chosen.log_dir == f"{tmp_path}/höme, sweet/my logs"


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("model.latent_dim=range(1,1000000)", "-m: asks for more than 5,000 jobs"),
        ("name=range(0,3,0)", "name=range(0,3,0): range() arg 3 must not be zero"),
        ("sweep=${x}", "sweep: Interpolation key 'x' not found"),
        (f"sweep={'a' * 300}", f"sweep={'a' * 300}: is too long for the name of a folder"),
        ("sweep=", "sweep=: should be the name of a folder in"),
        ("hydra.sweep.dir=pyproject.toml", "hydra.sweep.dir=pyproject.toml: "),
        ("hydra.sweep.dir=${x}", "hydra.sweep.dir: Interpolation key 'x' not found"),
        ("hydra.sweep.dir=a,b", "hydra.sweep.dir: is the same for all jobs of a sweep"),
        ("hydra.sweep.subdir=x", "hydra.sweep.subdir=x: would be the folder of several jobs"),
        ("hydra.sweep.subdir=..", "hydra.sweep.subdir=..: the name of a run's folder has no /"),
        ("hydra.launcher=joblib", "hydra.launcher: choose one with hydra/launcher=..."),
        ("hydra.sweeper=null", "hydra.sweeper: choose one with hydra/sweeper=..."),
        ("hydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size=0: should be 1 or more"),
        ("hydra/launcher=nope", "hydra/launcher=nope: there is no hydra/launcher of that name"),
        ("hydra.mode=RUN", "hydra.mode=RUN: -m asks for a sweep; use one of them"),
        ("model=vae,beta_vae", None),
        ("seed=2,3", "seed: is varied twice; write all its values in one list"),
        ("varied=x", "varied=x: cannot be set here, as it is derived from the overrides"),
        ("resume=latest", "resume='latest': cannot be set here, as a sweep resumes its own runs"),
    ],
)
def test_settings_that_a_sweep_cannot_have_are_refused(typed, fault, tmp_path):
    arguments = ["-m", "seed=0,1", f"log_dir={tmp_path}/logs", typed]
    if fault is None:
        assert len(read_command_line("train", arguments).jobs) == 4
    else:
        assert faults_of(*arguments)[0].startswith(fault)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a b", "ü", "a,b", "a'b", "a\\b", "a\\", "5"])
def test_a_sweep_can_have_any_folder_name(name):
    jobs = read_command_line("train", ["-m", "seed=0,1", f"sweep={name}"]).jobs
    assert {job.parent.name for job in jobs} == {name}


@pytest.mark.parametrize("place", ["file", "file/g", "${nope}", "a" * 300])
def test_an_impossible_run_folder_is_refused(place, tmp_path):
    (tmp_path / "file").touch()
    (line,) = faults_of(f"hydra.run.dir={tmp_path}/{place}")
    assert line.startswith("hydra.run.dir")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def private_folder(tmp_path):
    """A folder without read permission for this process."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


def test_a_folder_without_read_permission_is_not_a_config_error(private_folder):
    assert check_folder("log_dir", private_folder / "logs") == private_folder / "logs"


def test_long_names_are_cut_to_a_number_of_bytes():
    assert cut("日" * 100, 100) == "日" * 33
    jobs = read_command_line("train", ["-m", f"name={'日' * 80},b"]).jobs
    assert len(jobs[0].name.encode()) < 120


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("defaults:\n  - mine\n", "experiment=mine: includes itself in its defaults list"),
        ("1: 2\n", "1: the config has no argument 1; it takes name, "),
        ("model:\n  1: 2\n", "model.1: musigma.models.Autoencoder has no argument 1; it takes "),
        ("defaults:\n  - override /modl: vae\n", "{file}: Could not override 'modl'"),
        ("defaults:\n  - override /model: nope\n", "{file}: In 'train': Could not find"),
        ("hydra:\n  mode: MULTIRUN\n", "hydra.mode=MULTIRUN: type -m instead"),
        ("hydra:\n  job:\n    name: x\n", "hydra.job.name: cannot be set here"),
    ],
)
def test_a_mistake_in_a_file_of_config_dir_is_reported(text, fault, tmp_path):
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(f"# @package _global_\n{text}")
    (line,) = faults_of("experiment=mine", "--config-dir", str(tmp_path))
    assert line.startswith(fault.replace("{file}", str(file)))


def test_config_dir_can_hold_the_primary_config(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults:\n  - train\n  - _self_\nseed: 9\n")
    typed = ["--config-dir", str(tmp_path), "--config-name", "mine", "-m", "model=vae,beta_vae"]
    jobs = read_command_line("train", typed).jobs
    named = [(job.name, job.config["seed"]) for job in jobs]
    assert named == [("model=vae", 9), ("model=beta_vae", 9)]


def test_a_quoted_text_is_read_unchanged():
    for text in ("a", "it's", "a\\b", "a\\", "a\\'b", json.dumps("x")):
        shown = read_command_line("train", ["-m", "seed=0,1", f"name={quoted(text)}"])
        assert shown.jobs[0].config["name"] == text
