"""Settings that do not fit together are reported by the checks, not during a run."""

import signal

import lightning as L
import pytest

from musigma.models.priors import StandardNormal
from workbench.errors import ConfigError, DataError
from workbench.jobs.command_line import read_command_line
from workbench.runs.folder import RunFolder
from workbench.training.machine import check_devices
from workbench.training.run import run

PANEL = "{_target_:musigma.callbacks.LatentPanel}"
CALLBACK = "+callbacks.x._target_=lightning.pytorch.callbacks."
DDP = "+trainer.strategy._target_=lightning.pytorch.strategies.DDPStrategy"
EARLY = "+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping"


def _fault(*arguments):
    with pytest.raises(ConfigError) as error:
        read_command_line("train", list(arguments))
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["scheduler=cosine", "scheduler.T_max=0"], "scheduler: cannot be stepped after epoch 1"),
        (["scheduler=plateau", "scheduler.monitor=val/nope"], "there is no such metric"),
        (["scheduler=multistep", "scheduler.gamma=-1"], "makes the learning rate -0.001 after ep"),
        (["trainer.val_check_interval=0"], "trainer.val_check_interval=0: should be "),
        (["trainer.strategy=ddp_spawn"], "trainer.strategy: the processes of ddp_spawn do not"),
        (["trainer.strategy=ddp_fork"], "use ddp"),
        (
            [EARLY, "+callbacks.stop.monitor=val_loss"],
            "callbacks.stop.monitor=val_loss: there is",
        ),
        ([EARLY, "+callbacks.stop.monitor=test/loss"], "there is no such metric; there are train/"),
        # The default objective has no rate, so there is no ELBO.
        ([EARLY, "+callbacks.stop.monitor=val/elbo"], "there is no such metric"),
        (
            ["callbacks.checkpoint.monitor=val/los"],
            "callbacks.checkpoint.monitor=val/los: ther",
        ),
        (["optimized_metric=val/elbow"], "optimized_metric=val/elbow: there is no such metric"),
        (["optimized_metric=test/loss", "test=false"], "optimized_metric=test/loss: there is no t"),
        (
            ["optimized_metric=test/loss", "+trainer.limit_test_batches=0"],
            "there is no test; set test=true and trainer.limit_test_batches above 0",
        ),
        (["optimizer.lr=inf"], "optimizer.lr=inf: should be a finite number"),
        (["model.objective.samples=nan"], "should be a finite number"),
        (["trainer.limit_train_batches=1.5"], "trainer.limit_train_batches=1.5: should be"),
        (["scheduler=multistep", "scheduler.milestones=[a,b]"], "scheduler.milestones=['a', 'b']"),
        (["+scheduler={_target_:torch.optim.lr_scheduler.LRScheduler,_partial_:true}"], "NotImpl"),
        (["callbacks.checkpoint.monitor=train/loss"], "there is no such metric; there are val/"),
        (["trainer.profiler=xla"], "trainer.profiler: xla needs torch_xla"),
        (
            [f"{CALLBACK}LambdaCallback", "+callbacks.x.setup={_target_:torch.nn.ReLU}"],
            "plain value",
        ),
        (
            [f"{CALLBACK}ModelCheckpoint", "+callbacks.x.filename=../../x"],
            "into its own folder only",
        ),
        (
            [f"{CALLBACK}OnExceptionCheckpoint", "+callbacks.x.dirpath=/x"],
            "into its own folder only",
        ),
        (
            ["logger=csv", "logger.csv.version=/x"],
            "logger.csv.version=/x: a run writes into its own",
        ),
        (["logger.tensorboard.sub_dir=../x"], "logger.tensorboard.sub_dir=../x: a run writes"),
        (
            [
                "trainer.profiler._target_=lightning.pytorch.profilers.SimpleProfiler",
                "trainer.profiler.dirpath=x",
            ],
            "trainer.profiler.dirpath: is the run folder",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_reported_in_one_line(arguments, fault):
    assert fault in _fault(*arguments)


@pytest.mark.parametrize("monitor", ["val/elbo", "val/loss", "train/lr", "train/beta", "val/rate"])
def test_reported_metrics_can_be_monitored(monitor):
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
        ("+trainer.val_check_interval=1000", "an epoch has 5 batches, so set at most that"),
        ("+trainer.limit_val_batches=0.5", "none of 1 validation batch; set a whole number"),
        ("+trainer.overfit_batches=0.1", "overfit_batches=0.1: leaves none of 1 validation"),
    ],
)
def test_batch_limits_that_do_not_fit_the_data_leave_no_folder(override, fault, run_here, tmp_path):
    with pytest.raises(ConfigError, match=fault):
        run_here(override)
    assert not [*tmp_path.glob("logs/runs/*")]


def test_unreadable_images_leave_no_folder(compose_launch, tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    for i in range(20):
        (tmp_path / "images" / "a" / f"{i}.png").write_bytes(b"not an image")
    command = compose_launch("data=image_folder", f"data.path={tmp_path}/images")
    with pytest.raises(DataError, match=r"\.png cannot be read as an image"):
        run(command)
    assert not [*tmp_path.glob("logs/runs/*")]


@pytest.mark.slow
def test_a_named_run_folder_is_made_once_and_not_reused(run_script, tmp_path):
    small = ["trainer=cpu", "data.source=sample", "trainer.fast_dev_run=true"]
    folder = f"hydra.run.dir={tmp_path}/mine"
    assert run_script(*small, folder).returncode == 0

    def times():
        entries = (tmp_path / "mine").iterdir()
        # Filelock 3 empties the lock that it takes, which holds nothing.
        return {p.name: p.stat().st_mtime_ns for p in entries if p.name != ".lock"}

    before = times()
    assert "config.yaml" in before
    again = run_script(*small, folder)
    assert again.returncode == 2
    assert f"{tmp_path}/mine holds a run already: resume it" in again.stderr
    assert times() == before


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([DDP, "+trainer.strategy.start_method=spawn", "+trainer.devices=2"], "start_method=spawn"),
        (["+trainer.num_nodes=2"], "the processes of this run were not started together"),
        (
            [f"{CALLBACK}EarlyStopping", "+callbacks.x.monitor=val/loss", "+data.val_size=0"],
            "no va",
        ),
        (["+optimized_metric=val/loss", "+trainer.limit_val_batches=0"], "there is no validation"),
        (["+trainer.limit_test_batches=0.0001"], "trainer.limit_test_batches=0.0001: leaves none"),
        (["+trainer.limit_train_batches=0"], "trainer.limit_train_batches=0: should be more"),
        (["+optimizer.differentiable=true", "optimizer.fused=false"], "optimizer: a leaf Variable"),
        (
            ["optimizer._target_=torch.optim.SparseAdam", "~optimizer.fused"],
            "optimizer: SparseAdam",
        ),
        ([f"{CALLBACK}WeightAveraging", "+callbacks.x.avg_fn=foo"], "callbacks.x: 'str' object is"),
        ([f"{CALLBACK}LearningRateMonitor", "logger=none"], "callbacks.x: Cannot use `LearningRat"),
        (["logger=csv", "+logger.csv.flush_logs_every_n_steps=0"], "logger.csv: integer modulo by"),
    ],
)
def test_an_error_in_the_first_steps_is_one_line_and_leaves_no_folder(
    arguments, fault, compose_small, tmp_path
):
    with pytest.raises(ConfigError) as error:
        run(compose_small(*(a.replace("+", "++", 1) if a[0] == "+" else a for a in arguments)))
    (line,) = str(error.value).splitlines()
    assert fault in line
    assert not [*tmp_path.glob("logs/runs/*")]


def test_a_bug_in_a_users_own_callback_keeps_its_traceback(compose_small, monkeypatch, tmp_path):
    monkeypatch.setenv("MUSIGMA_TRUSTED", __name__)
    with pytest.raises(ZeroDivisionError):
        run(compose_small(f"+callbacks.x._target_={__name__}.Faulty"))
    assert not [*tmp_path.glob("logs/runs/*")]


class Faulty(L.Callback):
    """A user's callback with a bug."""

    def on_train_batch_end(self, *_):
        """Raise an error."""
        return 1 / 0


def test_arguments_without_annotations_can_be_set():
    read_command_line("train", ["logger.tensorboard.max_queue=20", "logger.tensorboard.comment=x"])


def test_the_check_does_not_draw_all_samples_of_an_objective():
    read_command_line("train", ["model=vae", "model.objective.samples=1000000000"])


def test_too_many_samples_for_the_memory_are_reported_and_leave_no_folder(compose_small, tmp_path):
    with pytest.raises(ConfigError, match="model: .*alloc"):
        run(compose_small("model=vae", "model.objective.samples=1000000000000"))
    assert not [*tmp_path.glob("logs/runs/*")]


def test_a_panel_that_fails_stops_the_run_before_it_starts(compose_small, monkeypatch, tmp_path):
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("this prior has no samples")

    monkeypatch.setattr(StandardNormal, "sample", refuse)
    with pytest.raises(NotImplementedError, match="no samples"):
        run(compose_small("model=vae", f"callbacks.latent_panel={PANEL}"))
    assert not [*tmp_path.glob("logs/runs/*")]


@pytest.mark.slow
def test_the_rehearsal_does_not_change_the_metrics_of_a_run(trained, run_here, monkeypatch):
    with_it = trained().read_metrics()["metrics"]
    monkeypatch.setattr("workbench.training.rehearsal.rehearse", lambda *_: None)
    assert run_here().read_metrics()["metrics"] == with_it


def test_sigterm_before_the_first_step_leaves_an_interrupted_run(compose_small, monkeypatch):
    launch = compose_small()
    monkeypatch.setattr(
        "workbench.training.records.show_summary", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    with pytest.raises(SystemExit) as end:
        run(launch)
    assert end.value.code == 130
    (folder,) = launch.parent.iterdir()
    assert RunFolder.open(folder).read_metrics()["status"] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
