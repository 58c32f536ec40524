"""What does not fit is found when a command line is checked, and not while a run trains."""

import pytest

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.config.trainer_rules import check_devices
from musigma.errors import ConfigError, DataError
from musigma.training import run

EARLY = "+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping"
PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"


def _fault(*arguments):
    register_resolvers()
    with pytest.raises(ConfigError) as error:
        read_command_line("train", list(arguments))
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["scheduler=cosine", "scheduler.T_max=0"], "scheduler: cannot be stepped after epoch 1"),
        (["scheduler=cosine", f"scheduler._target_={PLATEAU}", "~scheduler.T_max"], "metrics"),
        (["scheduler=multistep", "scheduler.gamma=-1"], "makes the learning rate -0.001 after ep"),
        (["trainer.val_check_interval=0"], "trainer.val_check_interval=0: Input should be greater"),
        (["trainer.strategy=ddp_spawn"], "trainer.strategy: the processes of ddp_spawn keep their"),
        (["trainer.strategy=ddp_fork"], "take ddp"),
        (
            [EARLY, "+callbacks.stop.monitor=val_loss"],
            "callbacks.stop.monitor=val_loss: there is",
        ),
        ([EARLY, "+callbacks.stop.monitor=test/loss"], "there is no such metric; there are train/"),
        ([EARLY, "+callbacks.stop.monitor=val/elbo"], "there is no such metric"),  # without a prior
        (
            ["callbacks.checkpoint.monitor=val/los"],
            "callbacks.checkpoint.monitor=val/los: ther",
        ),
        (["optimized_metric=val/elbow"], "optimized_metric=val/elbow: there is no such metric"),
        (["model=info_vae", "data.batch_size=1"], "compares the images of a batch: take 2 or more"),
        (["optimizer.lr=inf"], "optimizer.lr=inf: should be a finite number"),
        (["model.objective.samples=nan"], "should be a finite number"),
        (["trainer.limit_train_batches=1.5"], "trainer.limit_train_batches=1.5: Input should be"),
    ],
)
def test_it_is_one_line(arguments, fault):
    assert fault in _fault(*arguments)


@pytest.mark.parametrize("monitor", ["val/elbo", "val/loss", "train/lr", "train/beta", "val/rate"])
def test_metrics_that_there_are_can_be_monitored(monitor):
    register_resolvers()
    read_command_line("train", ["model=vae", EARLY, f"+callbacks.stop.monitor={monitor}"])


@pytest.mark.parametrize("devices", [99, "99"])
def test_more_processes_than_cores_are_refused_on_a_cpu(devices):
    with pytest.raises(ConfigError, match="would start 99 processes, and this machine has"):
        check_devices({"accelerator": "cpu", "devices": devices})
    check_devices({"accelerator": "cpu", "devices": 2})
    check_devices({"devices": "auto"})


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("+trainer.val_check_interval=1000", "an epoch has 5 batches, so take at most that"),
        ("+trainer.limit_val_batches=0.5", "of 1 batches that is none"),
    ],
)
def test_what_only_the_data_can_tell_is_found_before_there_is_a_folder(
    override, fault, run_here, tmp_path
):
    with pytest.raises(ConfigError, match=fault):
        run_here(override)
    assert not list((tmp_path / "logs" / "runs").iterdir())


def test_images_that_cannot_be_read_leave_no_folder(compose_launch, tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    for i in range(20):
        (tmp_path / "images" / "a" / f"{i}.png").write_bytes(b"not an image")
    command = compose_launch("data=image_folder", f"data.path={tmp_path}/images")
    with pytest.raises(DataError, match=r"\.png cannot be read as an image"):
        run(command)
    assert not list((tmp_path / "logs" / "runs").iterdir())


def test_a_run_folder_of_its_own_name_is_made_and_not_taken_twice(run_script, tmp_path):
    small = ["trainer=cpu", "data.source=sample", "trainer.fast_dev_run=true"]
    folder = f"hydra.run.dir={tmp_path}/mine"
    assert run_script(*small, folder).returncode == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "mine").iterdir()}
    assert (tmp_path / "mine" / "config.yaml").is_file()
    again = run_script(*small, folder)
    assert again.returncode == 2
    assert f"{tmp_path}/mine holds a run already: resume it" in again.stderr
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "mine").iterdir()} == before
