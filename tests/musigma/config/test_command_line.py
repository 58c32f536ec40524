"""Every job of a command line is composed and checked before the first one starts."""

import pytest

from extras import is_here, needs
from faults import faults_of
from musigma.paths import CONFIGS
from script_server import python
from workbench.jobs.command_line import read_command_line

SEARCH = pytest.param(["hydra/sweeper=search"], marks=needs("optuna"))
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_passes_all_checks(experiment):
    read_command_line("train", [f"experiment={experiment}"])


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("model=vea", "there is no model of that name; did you mean vae?"),
        (
            "model/likelihood=laplas",
            "there is no model/likelihood of that name; did you mean laplace?",
        ),
        ("experiment=mine", "there is no experiment of that name; there are "),
        ("+model.latent_dim=3", "Could not append to config. An item is already at"),
        ("~model.foo", "Could not delete from config. 'model.foo' does not exist."),
        ("model.latent_dim=[1", "cannot be read: close each bracket and quote"),
        ("latent_dim", "is not a setting: write name=value"),
        ("+experiment=binary_vae", "leave out the +, as the config has this group already"),
        ("model=vae,beta_vae", "add -m to run each of these; a list is [a,b], and a text 'a,b'"),
        ("seed=1,2", "add -m to run each of these"),
        ("model=3", "should be one of "),
        ("hydra.foo=3", "Hydra has no such setting"),
    ],
)
def test_an_override_that_hydra_cannot_compose_is_reported(argument, fault):
    (line,) = faults_of(argument)
    assert line.startswith(f"{argument}: {fault}")


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("model.latent_dim=eight", "model.latent_dim='eight': should be a whole number"),
        ("model.latent_dim=0", "model.latent_dim=0: should be 1 or more"),
        ("+model.latent_dims=3", "model.latent_dims: musigma.models.Autoencoder has no argument"),
        (
            "model.latent_dm=3",
            "model.latent_dm: musigma.models.Autoencoder has no argument latent_",
        ),
        ("modle=vae", "modle: the config has no argument modle; did you mean model?"),
        ("scheduler.gamma=0.3", "scheduler={'gamma': 0.3}: should be LRScheduler, described with"),
        ("trainer.callbacks=[]", "trainer.callbacks: is set by the run itself; leave it out"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1: should be 0 or more"),
        ("data.batch_size=0", "data.batch_size=0: should be 1 or more"),
        ("data.val_size=60000", "data.val_size=60000: should be less than 60000"),
        ("model.objective.samples=1.5", "model.objective.samples=1.5: should be a whole number"),
        ("optimizer.lr=-1", "optimizer or scheduler: Invalid learning rate"),
        ("trainer.log_every_n_steps=-1", "trainer.log_every_n_steps=-1: should be 0 or more"),
        ("seed=-1", "seed=-1: should be 0 or more"),
        ("seed=???", "seed is missing: it has no default, so give it a value"),
        ("test=3", "test=3: should be true or false"),
        ("name=${nothing}", "name: Interpolation key 'nothing' not found"),
        ("+logger.tensorboard.flush=3", "logger.tensorboard.flush: workbench.loggers.TensorBoard"),
        (
            "model.network._target_=musigma.objectives.ELBO",
            "model.network._target_=musigma.objectives.ELBO: should be Network, described",
        ),
        ("model.likelihood=bernoulli", "model.likelihood='bernoulli': should be Likelihood, descr"),
        ("optimizer._target_=torch.nn.Linear", "optimizer._target_=torch.nn.Linear: should be Op"),
    ],
)
def test_a_wrong_setting_is_reported_with_its_override(argument, fault):
    lines = [line for line in faults_of(argument) if not line.startswith("data.seed")]
    assert lines[0].startswith(fault)
    if not argument.startswith(("optimizer.lr", "model.network")):
        assert argument in lines[0].partition("  (from ")[2]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["model/likelihood=bernoulli"], "Bernoulli is a density of binary pixels, and data"),
        (["model=vae", "model.posterior=point"], "the objective ELBO needs a rate, and a point"),
        (["trainer=cpu", "trainer.precision=16-mixed"], "16-mixed is for GPUs; on the CPU use"),
        (["trainer.precision=bf16-true"], "bf16-true would keep weights in 16 bits"),
        (["model/network=conv", "model.network.channels=[8,8,8,8,8]"], "cannot be halved 5 times"),
        (["data.dataset=KMNIST", "data.source=sample"], "it cannot replace KMNIST"),
    ],
)
def test_settings_that_do_not_fit_together_are_reported(arguments, fault):
    assert any(fault in line for line in faults_of(*arguments))


def test_a_choice_that_does_not_fit_is_named_as_it_was_typed():
    (line,) = faults_of("model=vae", "model/likelihood=bernoulli")
    assert line.endswith("(from model/likelihood=bernoulli)")


def test_arguments_that_no_config_file_lists_can_be_set():
    given = ["optimizer.betas=[0.5,0.9]", "trainer.gradient_clip_val=1.0", "model.latent_dim=3"]
    (job,) = read_command_line("train", ["-m", "model=vae", *given, "seed=0"]).jobs
    assert job.config["optimizer"]["betas"] == [0.5, 0.9]
    assert job.config["trainer"]["gradient_clip_val"] == 1.0
    assert job.overrides[1:4] == given


def test_arguments_that_no_config_file_lists_can_be_swept():
    command = read_command_line("train", ["-m", "trainer.gradient_clip_val=0.1,1.0", "seed=0,1"])
    assert [job.config["trainer"]["gradient_clip_val"] for job in command.jobs] == [0.1, 0.1, 1, 1]
    assert command.jobs[0].name == "gradient_clip_val=0.1,seed=0"
    assert {job.parent.name for job in command.jobs} == {"gradient_clip_val,seed"}
    assert command.options.overrides[0] == "++trainer.gradient_clip_val=0.1,1.0"
    assert command.arguments[0][:2] == ["++trainer.gradient_clip_val=0.1", "seed=0"]


@pytest.mark.slow
def test_a_sweep_takes_glob_range_and_choice():
    command = ["-m", "model=glob([vae,beta*])", "seed=range(1,3)", "data=choice(mnist,kmnist)"]
    names = {job.name for job in read_command_line("train", command).jobs}
    assert names == {
        f"model={model},seed={seed},data={data}"
        for model in ("beta_vae", "vae")
        for seed in (1, 2)
        for data in ("mnist", "kmnist")
    }


@needs("optuna")
@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("optimizer.lr=interval(-0.5,1)", "optimizer or scheduler: Invalid learning rate: -0.5"),
        ("model.latent_dim=choice(2,a)", "model.latent_dim='a': should be a whole number"),
        ("trainer.clip=tag(log,interval(1,2))", "trainer.clip: lightning.pytorch.Trainer has no"),
        ("modle=choice(vae,beta_vae)", "modle: the config has no argument modle"),
    ],
)
def test_a_search_is_checked_on_sample_trials(argument, fault):
    line, *_ = faults_of("-m", "hydra/sweeper=search", argument)
    assert line.startswith(fault)


@pytest.mark.parametrize("sweeper", [[], SEARCH])
@pytest.mark.parametrize("argument", ["model=glob(zzz*)", "seed=range(3,3)"])
def test_an_override_without_values_is_reported(argument, sweeper):
    (line,) = faults_of("-m", *sweeper, argument)
    assert line == f"{argument}: holds no value"


def test_two_plus_signs_also_set_what_a_file_lists():
    read_command_line("train", ["-m", "study=latent_dim", "++model.latent_dim=3", "seed=0"])


def test_an_interval_needs_a_search():
    (line,) = faults_of("-m", "optimizer.lr=interval(0.1,1)")
    assert line == "optimizer.lr=interval(0.1,1): is for a search: add hydra/sweeper=search"


@pytest.mark.slow
def test_a_study_needs_plus_signs_for_arguments_that_no_config_file_lists(tmp_path):
    mine = tmp_path / "study" / "mine.yaml"
    mine.parent.mkdir()
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      {}trainer.min_epochs: 1,2\n"
    mine.write_text(text.format(""))
    (line,) = faults_of("-m", "study=mine", f"--config-dir={tmp_path}")
    assert line.endswith("write it as ++trainer.min_epochs there, as no file has it")
    mine.write_text(text.format("++"))
    jobs = read_command_line("train", ["-m", "study=mine", f"--config-dir={tmp_path}"]).jobs
    assert [job.name for job in jobs] == ["min_epochs=1", "min_epochs=2"]


def test_cfg_shows_arguments_that_no_config_file_lists():
    shown = ["--cfg=job", "trainer.min_epochs=2", "model=vae"]
    assert read_command_line("train", shown).options.overrides == [f"++{shown[1]}", shown[2]]
    (line,) = faults_of("--cfg=job", "-m", "seed=0,1")
    assert line == "--multirun and --cfg cannot be combined: use one of them"


def test_a_mistake_in_a_config_file_is_reported_with_the_file(tmp_path):
    mine = tmp_path / "experiment" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("# @package _global_\nmodel:\n  latent_dims: 3\noptimizer:\n  lr: fast\n")
    lines = faults_of("experiment=mine", f"--config-dir={tmp_path}")
    assert [line.rpartition("  (")[2] for line in lines] == [f"from {mine})"] * 2
    (line,) = faults_of("model.posterior=point", "model=vae")
    assert "(from model.posterior=point;" in line


def test_all_problems_are_reported_at_once():
    lines = faults_of("model.latent_dm=3", "model=vea", "+data.roots=x", "optimizer.lr=fast")
    assert len(lines) == 4


def test_a_sweep_checks_all_its_jobs_first():
    lines = faults_of("-m", "model=vae,vea", "seed=0,x", "model.latent_dim=2,0,8")
    assert any(line.startswith("model=vea: ") for line in lines)
    assert any("seed='x'" in line and "from seed=x" in line for line in lines)
    assert any(line.endswith("(from model.latent_dim=0)") for line in lines)
    assert len(lines) == len(set(lines))
    command = read_command_line("train", ["-m", "model=vae,autoencoder", "seed=range(0,3)"])
    assert [job.name for job in command.jobs][:2] == ["model=vae,seed=0", "model=vae,seed=1"]
    assert {job.parent.name for job in command.jobs} == {"model,seed"}
    names = ["sweep='model,seed'", "varied=['model','seed']"]
    assert command.options.overrides[2:4] == names
    assert command.arguments[0] == ["model=vae", "seed=0", *names]


@pytest.mark.parametrize(
    ("script", "argument", "fault"),
    [
        ("evaluate", "checkpoint=null", "checkpoint=None: should be text"),
        ("evaluate", "device=gpu", "device='gpu': should be auto, cpu, cuda, cuda:1 (the second"),
        ("evaluate", "samples=3", "samples=3: should be 25 or more"),
        ("evaluate", "-m", "--multirun is for scripts/train.py only; leave it out"),
        ("export", "format=pickle", "format='pickle': should be 'torch' or 'onnx'"),
        ("predict", "task=draw", "task='draw': should be 'encode', 'decode', 'sample', 'recon"),
        ("predict", "offsets=[]", "offsets=[]: should have at least 1 item"),
        ("predict", "image=-1", "image=-1: should be 0 or more"),
    ],
)
def test_the_settings_of_other_scripts_are_checked_too(script, argument, fault):
    (line,) = faults_of(argument, script=script)
    assert line.startswith(fault)


@pytest.mark.parametrize(
    "argument",
    [
        "hydra.launcher._target_=os.system",
        "optimizer._target_=os.system",
        "+hydra.callbacks.x._target_=os.system",
        "+hydra.job_logging.formatters.x.()=os.system",
        "hydra.sweeper._target_=${name}",
        "model.network._target_=os.system",
        "model.network._target_=workbench.runs.environment.subprocess.run",
        "+callbacks.x._target_=lightning.pytorch.utilities.rank_zero.os.system",
        "model._target_=${oc.env:PATH}",
        "model={_target_:builtins.eval,_args_:[1]}",
    ],
)
def test_a_target_that_could_run_code_is_refused_before_anything_is_built(argument):
    assert any("_target_" in line or "()" in line for line in faults_of(argument))


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["0", "1"])
def test_a_config_error_exits_with_2_and_prints_a_traceback_only_on_request(asked):
    env = {"PATH": "", "HYDRA_FULL_ERROR": asked}
    done = python("scripts/train.py", "model.latent_dm=3", env=env)
    assert "did you mean latent_dim?" in done.stderr
    assert ("Traceback" in done.stderr) == (asked == "1")
    assert done.returncode == (1 if asked == "1" else 2)


STUDIES = sorted(path.stem for path in (CONFIGS / "study").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("study", [study for study in STUDIES if study != "search"])
def test_every_job_of_every_study_passes(study):
    command = read_command_line("train", ["-m", f"study={study}"])
    assert command.jobs
    assert {job.parent.name for job in command.jobs} == {study}
    assert len({job.name for job in command.jobs}) == len(command.jobs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "plugin", "extra"),
    [
        ("study=search", "optuna", "optuna"),
        ("hydra/launcher=all_cores", "hydra_plugins.hydra_joblib_launcher", "joblib"),
        ("hydra/launcher=ray_local", "hydra_plugins.hydra_ray_launcher", "ray"),
        ("hydra/launcher=slurm", "hydra_plugins.hydra_submitit_launcher", "submitit"),
        ("hydra/launcher=slurm_local", "hydra_plugins.hydra_submitit_launcher", "submitit"),
    ],
)
def test_a_plugins_config_is_valid_or_the_missing_extra_is_named(argument, plugin, extra):
    command = ["-m", argument, "seed=0"]
    if is_here(plugin):
        read_command_line("train", command)
    else:
        (line,) = faults_of(*command)
        assert line.endswith(f"needs an extra that is not installed: pip install -e '.[{extra}]'")


def test_a_fault_of_a_whole_group_is_blamed_on_the_setting_inside_it_that_it_names():
    fake = ["data=dataset", "data.dataset._target_=torchvision.datasets.FakeData", "data.std=0.5"]
    (line,) = faults_of(*fake, "data.mean=[0.5]", "data.batch_size=64")
    assert line.startswith("data: mean has 1 number, and an image of image_shape [3, 64, 64] has 3")
    assert line.endswith("(from data.mean=[0.5])")
    (line,) = faults_of(*fake, "data.normalization=standardize", "data.val_size=0.2")
    assert line.endswith("(from data.normalization=standardize)")
    (line,) = faults_of("optimizer.lr=-1", "optimizer.eps=0.1")
    assert "(from optimizer.eps" not in line


def test_all_faults_of_the_trainer_are_reported_each_with_its_setting():
    wrong = ["strategy=x", "accelerator=y", "gradient_clip_algorithm=z", "max_time=w"]
    right = ["check_val_every_n_epoch=null", "val_check_interval=2"]
    lines = faults_of(*(f"trainer.{setting}" for setting in (*wrong, *right)))
    assert {line.rpartition("  (from trainer.")[2] for line in lines} == {f"{w})" for w in wrong}
    for line in lines:
        assert line.startswith("trainer." + line.rpartition("trainer.")[2].partition("=")[0])
