"""Hydra's own settings are obeyed or refused, and only listed classes are built."""

from pathlib import Path

import pytest

from faults import faults_of
from workbench.jobs.command_line import read_command_line
from workbench.jobs.quoting import quote
from workbench.training.launch import Launch

pytestmark = pytest.mark.slow


def _fault(*arguments, script="train"):
    (line,) = faults_of(*arguments, script=script)
    return line


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("hydra.output_subdir=.hydra", "hydra.output_subdir: cannot be set here, as a run folder"),
        ("hydra/job_logging=default", "hydra.job_logging: cannot be set here, as a run keeps"),
        ("hydra/hydra_logging=default", "hydra.hydra_logging: cannot be set here"),
        ("hydra.verbose=true", "hydra.verbose: cannot be set here"),
        ("hydra.verbose=[musigma]", "hydra.verbose: cannot be set here"),
        ("hydra.job.chdir=true", "hydra.job.chdir: cannot be set here, as a run does not change"),
        ("hydra.sweep.dir=/x", "hydra.sweep.dir=/x: cannot be set here, as a single run has"),
        ("+hydra.job.env_set.GIT_CONFIG_COUNT=1", "hydra.job.env_set.GIT_CONFIG_COUNT: may not be"),
        ("+hydra.job.env_set.PATH=/x", "hydra.job.env_set.PATH: may not be set by a config"),
        ("hydra.job.env_set={PATH:/x}", "hydra.job.env_set.PATH: may not be set by a config"),
        ("hydra.run.dir=.", "hydra.run.dir=.: stands for a new folder in log_dir"),
        ("+hydra.nope=1", "+hydra.nope=1: Hydra has no such setting"),
        ("++hydra.nope.x=1", "++hydra.nope.x=1: Hydra has no such setting"),
        ("+hydra.launcher.n_jobs=2", "+hydra.launcher.n_jobs=2: Hydra has no such setting"),
        ("hydra.runtime.cwd=/x", "hydra.runtime.cwd=/x: cannot be set here, as Hydra writes it"),
    ],
)
def test_hydra_settings_that_a_run_would_ignore_are_refused(argument, fault):
    assert _fault(argument).startswith(fault)
    if not argument.startswith("hydra.sweep"):
        assert _fault("resume=anything", argument).startswith(fault)


@pytest.mark.parametrize(
    "argument",
    [
        "+hydra.callbacks.x._target_=logging.os.system",
        "+hydra.callbacks.x._target_=workbench.runs.environment._git",
        "+hydra.callbacks.x._target_=hydra.utils.call",
        "+hydra.callbacks.x._target_=hydra.experimental.callbacks.PickleJobInfoCallback",
        "hydra.launcher._target_=subprocess.run",
        "hydra.sweeper._target_=optuna.samplers._tpe.sampler.TPESampler",
        "++hydra.callbacks.inner=[{_target_:logging.FileHandler}]",
        "++hydra.callbacks.inner={class:os.system}",
    ],
)
@pytest.mark.parametrize("more", [[], ["resume=anything"], ["--cfg", "job"]])
def test_only_listed_targets_are_allowed_in_hydra_settings(argument, more):
    assert "is not allowed; Hydra's settings may only name" in _fault(*more, argument)


def test_rerunning_a_pickled_job_is_refused():
    assert "--experimental-rerun runs code from a pickle" in _fault("--experimental-rerun", "x")


@pytest.mark.parametrize("script", ["evaluate", "predict", "export", "report"])
def test_hydra_run_dir_is_refused_by_scripts_without_run_folders(script):
    assert "has no folder of its own" in _fault("hydra.run.dir=/x", script=script)


def _jobs(*arguments) -> list[Launch]:
    return read_command_line("train", ["-m", *arguments]).jobs


def test_hydra_sweep_dir_and_subdir_name_the_folders_of_a_sweep():
    jobs = _jobs("hydra.sweep.dir=/x/y", "hydra.sweep.subdir=${hydra.job.num}", "seed=3,4")
    assert [(job.parent, job.name) for job in jobs] == [(Path("/x/y"), "0"), (Path("/x/y"), "1")]


@pytest.mark.parametrize("typed", [["seed=3,4", "-m"], ["model=vae", "--multirun", "seed=3,4"]])
def test_the_multirun_option_can_be_anywhere_on_the_command_line(typed):
    assert [job.name for job in read_command_line("train", typed).jobs] == ["seed=3", "seed=4"]


def test_a_jobs_folder_can_be_named_by_its_overrides():
    keys = "hydra.job.config.override_dirname.exclude_keys=[model]"
    for more in ([], [keys, "model=vae"]):
        jobs = _jobs("hydra.sweep.subdir=${hydra.job.override_dirname}", "seed=3,4", *more)
        assert [job.name for job in jobs] == ["seed=3", "seed=4"]


def test_the_study_of_a_sweep_cannot_be_varied():
    lines = faults_of("-m", "study=beta,seeds")
    assert [line.rpartition("  ")[2] for line in lines] == [
        "(from configs/study/beta.yaml)",
        "(from configs/study/seeds.yaml)",
    ]


def test_by_default_a_sweep_is_named_after_the_settings_that_it_varies():
    for none in ([], ["sweep=null"]):
        assert {job.parent.name for job in _jobs("seed=3,4", *none)} == {"seed"}


@pytest.mark.parametrize("name", ["../../..", "..", ".", "a/b", "/tmp/x", "''", "[a]"])
def test_a_sweeps_name_must_be_a_folder_name(name):
    assert "should be the name of a folder in" in _fault("-m", f"sweep={name}", "seed=0,1")


@pytest.mark.parametrize("group", ["logger", "scheduler"])
def test_null_for_an_optional_group_chooses_its_file_none(group):
    assert read_command_line("train", [f"{group}=null"]).options.overrides == [f"{group}=none"]


def test_null_for_a_preset_chooses_none():
    assert read_command_line("train", ["experiment=null", "resume=null"]).options.overrides == [
        "experiment=[]",
        "resume=null",
    ]
    jobs = _jobs("experiment=null,notebook", "scheduler=null,cosine")
    assert [job.overrides[:2] for job in jobs] == [
        [f"experiment={preset}", f"scheduler={schedule}"]
        for preset in ("[]", "notebook")
        for schedule in ("none", "cosine")
    ]


@pytest.mark.parametrize("group", ["model", "data", "optimizer", "trainer", "callbacks"])
def test_null_for_a_required_group_is_refused_and_its_choices_are_listed(group):
    assert _fault(f"{group}=null").startswith(f"{group}=null: should be one of ")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("name=ünï", "name='ünï'"),
        ("data.path=/tmp/für/x.npz", "data.path='/tmp/für/x.npz'"),
        ("name=ünï,b", "name='ünï',b"),
        ("x=[ä,b]", "x=['ä',b]"),
        ("x={a: ü}", "x={a: 'ü'}"),
        ("name='ünï'", "name='ünï'"),
        ("name=日本", "name='日本'"),
        ("data.path=/tmp/x (1)/y", "data.path='/tmp/x (1)/y'"),
        ("seed=range(0,4)", "seed=range(0,4)"),
        ("resume=null", "resume=null"),
        ("resume=a/b=c,d", "resume='a/b=c,d'"),
    ],
)
def test_quotes_required_by_hydras_grammar_are_added(typed, read):
    assert quote(typed) == read


@pytest.fixture
def config_file():
    """A function that writes a file into `configs`; the files are deleted after the test."""
    from musigma.paths import CONFIGS

    written = []

    def write(name, text):
        path = CONFIGS / name
        path.write_bytes(text.encode("latin-1"))
        written.append(path)

    yield write
    for path in written:
        path.unlink()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("# @package _global_\nmodel:\n  a: [\n b: 1\n", ", line 5: "),
        ("# @package _global_\ntrainer:\n\tmax_epochs: 3\n", ", line 3: found character '\\t'"),
        ("# @package _global_\nseed: 1\nseed: 2\n", ", line 3: found duplicate key seed"),
        ("model:\n  latent_dim: 3\n", ": should begin with the line `# @package _global_`"),
        ("# @package _global_\n- a\n", ": Cannot merge DictConfig with ListConfig"),
        ("# @package _global_\nname: \xff\n", ": is not text in UTF-8"),
        (
            "# @package _global_\ndefaults:\n  - override /modl: vae\n",
            ": Could not override 'modl'",
        ),
        (
            "# @package _global_\nhydra:\n  sweeper:\n    parms: {}\n",
            ": hydra.sweeper.parms: Hydra has",
        ),
    ],
)
def test_a_malformed_config_file_is_reported_by_name(text, fault, config_file):
    config_file("experiment/zz_fault.yaml", text)
    assert _fault("experiment=zz_fault").startswith(f"configs/experiment/zz_fault.yaml{fault}")


def test_checking_a_config_file_does_not_run_its_target(config_file, tmp_path):
    witness = tmp_path / "witness"
    config_file(
        "experiment/zz_target.yaml",
        "# @package _global_\nmodel:\n  network:\n"
        "    _target_: workbench.runs.environment._git\n"
        f"    command: [/bin/sh, -c, 'touch {witness}']\n",
    )
    assert "workbench.runs.environment._git is not allowed" in _fault("experiment=zz_target")
    assert not witness.exists()


def test_a_process_started_by_lightning_may_have_lightnings_job_name(monkeypatch):
    assert "hydra.job.name" in _fault("hydra.job.name=train_ddp_process_1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    read_command_line("train", ["hydra.job.name=train_ddp_process_1", "hydra.output_subdir=null"])


def test_the_name_of_a_sweep_is_refused_without_m(monkeypatch):
    assert "as it names a sweep, which -m asks for; leave it out" in _fault("sweep=mine")
    monkeypatch.setenv("LOCAL_RANK", "1")  # a process that Lightning has started for a job
    monkeypatch.setenv("WORKBENCH_RUN_FOLDER", "x")
    assert read_command_line("train", ["sweep=mine"]).composed.sweep == "mine"
