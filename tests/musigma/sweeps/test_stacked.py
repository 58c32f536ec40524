"""Runs that are trained as one model equal the runs trained alone, up to rounding."""

import json
import signal

import pytest
import torch

from musigma.data.image_folder import ImageFolderDataModule
from musigma.data.mnist import MNISTDataModule
from shapes import coloured_shapes, write_folder
from stacking import SHORT, SMOOTH, check_left_alone, check_same_run, check_stacked
from workbench.errors import DataError
from workbench.stacked import training
from workbench.stacked.launch import _obstacles, run_jobs
from workbench.stacked.member import SKIPPED_HOOKS, Member, check_hooks
from workbench.sweeps.job import run_job

RISING = "model.objective.beta={_target_: musigma.objectives.schedules.Linear, steps: 9}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("common", "varied", "rel"),
    [
        ((), [("seed=0",), ("seed=1",)], 1e-3),
        (("model=vae",), [("model.objective.beta=0.5",), ("model.objective.beta=4",)], 5e-3),
        (SMOOTH, [("seed=0",), ("seed=1", "optimizer.lr=1e-3"), ("optimizer=adam",)], 1e-4),
        ((*SMOOTH, "data.val_size=0"), [("seed=0",), ("model.likelihood.scale=0.5",)], 1e-4),
    ],
    ids=["default", "beta", "numbers", "unvalidated"],
)
def test_stacked_runs_equal_the_runs_alone(jobs, common, varied, rel, capsys):
    check_stacked(jobs, [(*common, *each) for each in varied], rel)
    assert f"epoch 2/2   {len(varied)} runs" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_stacked_runs_on_a_gpu_equal_the_runs_alone(jobs):
    varied = [(*SMOOTH, "trainer.accelerator=gpu", f"seed={seed}") for seed in (0, 1, 2)]
    check_stacked(jobs, varied, 1e-3)


def _stop_after(monkeypatch, calls):
    end_epoch, made = Member.end_epoch, []

    def stop(self, *arguments):
        made.append(self)
        if len(made) > calls:
            raise KeyboardInterrupt
        return end_epoch(self, *arguments)

    monkeypatch.setattr(Member, "end_epoch", stop)


@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_a_stopped_stack_resumes_to_the_same_bits(jobs, monkeypatch, calls):
    varied = [(*SMOOTH, "trainer.max_epochs=3", f"seed={seed}") for seed in (0, 1, 2)]
    whole, stopped = jobs("whole", *varied), jobs("stopped", *varied)
    run_jobs(whole, 64)
    with monkeypatch.context() as patched:
        _stop_after(patched, calls)
        with pytest.raises(SystemExit):
            run_jobs(stopped, 64)
    run_jobs(stopped, 64)
    for job, other in zip(stopped, whole, strict=True):
        check_same_run(job, other, 1e-6)


@pytest.mark.slow
def test_a_run_of_a_stack_can_be_resumed_alone(jobs, compose_launch):
    from workbench.training.run import run

    stacked = jobs("stacked", *((*SMOOTH, f"seed={seed}") for seed in (0, 1)))
    run_jobs(stacked, 64)
    (longer,) = jobs("longer", (*SMOOTH, "trainer.max_epochs=3"))
    run_job(longer)
    folder = stacked[0].parent / stacked[0].name
    launch = compose_launch(f"resume={folder}", "trainer.max_epochs=3")
    run(launch)
    check_same_run(stacked[0], longer, 1e-3)


LBFGS = ("optimizer=sgd", "optimizer._target_=torch.optim.LBFGS", "~optimizer.momentum")


@pytest.mark.slow
def test_a_diverging_run_fails_alone_and_the_others_complete(jobs):
    overrides = [(*SMOOTH, f"optimizer.lr={lr}") for lr in ("1e-3", "1e30", "1e-2")]
    stacked = jobs("stacked", *overrides)
    run_jobs(stacked, 64)
    metrics = [json.loads((j.parent / j.name / "metrics.json").read_text()) for j in stacked]
    assert [each["status"] for each in metrics] == ["completed", "failed", "completed"]
    assert "were not finite" in metrics[1]["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("scheduler=cosine",), "scheduler is set"),
        ((*LBFGS, "optimizer.lr=0.01"), "stacks evaluate a batch once, LBFGS perhaps again"),
        (("model=vae", RISING), "depends on the number of the step"),
        (("data.normalization=dequantize",), "pixels are drawn anew"),
        pytest.param(
            ("+data.augment=[{_target_: torchvision.transforms.v2.RandomAffine, degrees: 9}]",),
            "no",
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=lambda value: value[0].split("=")[0] if isinstance(value, tuple) else "",
)
def test_a_run_that_cannot_be_stacked_is_trained_alone_with_the_reason(
    jobs, overrides, reason, capsys
):
    check_left_alone(jobs, overrides, capsys, reason)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("+trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=2 is set"),
        ("trainer.precision=bf16-mixed", "trainer.precision not 32-true"),
        ("callbacks.checkpoint=null", "one BestAndLast"),
    ],
)
def test_settings_that_stacks_do_not_support_are_reasons_against_one(jobs, override, reason):
    supported, job = jobs("runs", (), (override,))
    assert [*_obstacles(supported.config)] == []
    (found,) = _obstacles(job.config)
    assert reason in found


@pytest.mark.parametrize("logger", ["wandb", "mlflow"])
def test_runs_with_a_logger_of_one_run_per_process_are_not_stacked(jobs, logger):
    chosen = [("logger=[tensorboard,csv]",), (f"logger=[tensorboard,{logger}]",)]
    local, tracked = jobs("runs", *chosen)
    assert [*_obstacles(local.config)] == []
    assert [*_obstacles(tracked.config)] == [f"a stack does not log to {logger}"]


class _SeededData(MNISTDataModule):
    """Data whose training images depend on the seed."""

    def read(self, train):
        images, labels = super().read(train)
        return (images[self.seed :], labels[self.seed :]) if train else (images, labels)


def test_data_whose_images_depend_on_the_seed_are_not_shared():
    ours = [MNISTDataModule(source="sample", seed=seed) for seed in (0, 1, 2)]
    theirs = [_SeededData(source="sample", seed=seed) for seed in (0, 1)]
    for data in (ours[0], theirs[0]):
        data.setup("fit")
    for other in ours[1:]:
        other.share(ours[0])
        assert other.train_dataloader().dataset.tensors[0] is ours[0]._sets["train"].images
    with pytest.raises(DataError, match="depend on the seed"):
        theirs[1].share(theirs[0])


def test_a_folder_of_images_in_memory_can_be_shared(tmp_path):
    images, labels = coloured_shapes(20, side=8)
    write_folder(tmp_path, images, labels)
    settings = {"image_shape": (3, 8, 8), "val_size": 2, "stream": False}
    first, second = (ImageFolderDataModule(path=tmp_path, seed=seed, **settings) for seed in (0, 1))
    first.setup("fit")
    check_hooks(second, "share", {*SKIPPED_HOOKS, "setup"})
    second.share(first)
    loaders = [data.train_dataloader() for data in (first, second)]
    assert loaders[1].dataset.tensors[0] is loaders[0].dataset.tensors[0]
    assert len(loaders[1].dataset) == 16


@pytest.mark.exhaustive
def test_models_of_different_sizes_are_in_different_stacks(jobs, monkeypatch):
    sizes = []
    train = training.train

    def count(members):
        sizes.append(len(members))
        train(members)

    monkeypatch.setattr("workbench.stacked.launch.train", count)
    overrides = [(f"model.latent_dim={d}", f"seed={s}") for d in (2, 3) for s in (0, 1, 2)]
    stacked = jobs("stacked", *(("trainer.max_epochs=1", *each) for each in overrides))
    run_jobs(stacked, 64)
    assert sizes == [3, 3]


@pytest.mark.slow
def test_the_stacked_launcher_is_chosen_on_the_command_line(run_script, tmp_path):
    arguments = ("-m", "seed=0,1", "sweep=s", *SHORT, "hydra/launcher=stacked")
    done = run_script(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 2/2   2 runs" in done.stdout
    statuses = [
        json.loads(path.read_text())["status"]
        for path in (tmp_path / "logs/sweeps/s").glob("*/metrics.json")
    ]
    assert statuses == ["completed", "completed"]
    again = run_script(*arguments)
    assert "2 done" in again.stdout
    assert "epoch" not in again.stdout


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_stack_is_resumed_by_the_same_command(start_script, tmp_path, number):
    arguments = ("-m", "seed=0,1", "sweep=s", *SHORT, "trainer.max_epochs=40")
    started = start_script(*arguments, "hydra/launcher=stacked")
    started.wait_for("epoch 2/40")
    started.send_signal(number)
    done = started.finish()
    assert done.returncode == 130
    assert "The same command resumes the sweep" in done.stdout
    paths = [*(tmp_path / "logs/sweeps/s").glob("*/metrics.json")]
    assert {json.loads(path.read_text())["status"] for path in paths} == {"interrupted"}
    again = start_script(*arguments, "hydra/launcher=stacked").finish()
    assert "2 to be resumed" in again.stdout
    assert "epoch 1/40" not in again.stdout
    assert "epoch 40/40   2 runs" in again.stdout
    assert {json.loads(path.read_text())["status"] for path in paths} == {"completed"}
