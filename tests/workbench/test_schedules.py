"""Learning rate schedules by steps, epochs and metrics, and their lengths."""

import functools

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from curves import scalars_of
from workbench.callbacks import BestAndLast
from workbench.config import schedule_rules
from workbench.config.misfits import find_misfits
from workbench.errors import ConfigError
from workbench.jobs.quoting import quote
from workbench.optimizers.schedules import WarmupCosine, schedule_of
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run

pytestmark = pytest.mark.slow

TORCH = "torch.optim.lr_scheduler."


def scheduler(name, **settings):
    """The overrides that choose a scheduler."""
    target = name if "." in name else f"{TORCH}{name}"
    config = {"_target_": target, "_partial_": "true", **settings}
    return [f"++scheduler.{key}={value}" for key, value in config.items()]


ONECYCLE = scheduler("OneCycleLR", max_lr=0.1, interval="step")
COSINE = scheduler("workbench.optimizers.schedules.WarmupCosine", interval="step")
PLATEAU = scheduler("ReduceLROnPlateau", patience=0, threshold=0.9, factor=0.5)


def end_of(folder, name="last"):
    checkpoint = load_checkpoint(folder.checkpoint(name))
    return checkpoint, checkpoint["lr_schedulers"][0], checkpoint["optimizer_states"][0]


def fault(compose_small, *overrides):
    (problem,) = find_misfits(compose_small(*overrides).config)
    return str(problem)


def test_a_schedule_by_steps_lasts_as_long_as_the_training(run_here):
    _, state, optimizer = end_of(run_here(*ONECYCLE))  # 2 epochs of 4 batches
    assert state["total_steps"] == state["last_epoch"] == 8
    weight = torch.nn.Parameter(torch.zeros(1))
    expected = torch.optim.SGD([weight], lr=0.1)
    torchs = OneCycleLR(expected, max_lr=0.1, total_steps=8)
    for _ in range(8):
        expected.step()
        torchs.step()
    assert optimizer["param_groups"][0]["lr"] == expected.param_groups[0]["lr"]


def test_the_length_of_a_schedule_follows_every_limit_of_the_training(run_here):
    every = scheduler("workbench.optimizers.schedules.WarmupCosine", interval="step", frequency=2)
    by_epoch = scheduler("workbench.optimizers.schedules.WarmupCosine")
    for overrides, total in (
        ([*COSINE, "++trainer.max_steps=3"], 3),
        ([*COSINE, "++trainer.accumulate_grad_batches=3"], 4),
        ([*COSINE, "++trainer.limit_train_batches=0.5"], 4),
        (every, 4),
        ([*by_epoch, "trainer.max_epochs=3"], 3),
    ):
        _, state, _ = end_of(run_here(*overrides))
        assert state["total_steps"] == total, overrides
        assert state["last_epoch"] == total, overrides


def test_warmup_cosine_rises_linearly_and_falls_to_its_final_share():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosine(optimizer, 10, warmup=0.3, final=0.1)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:10] == sorted(rates[4:10], reverse=True)
    assert rates[10:] == pytest.approx([0.1, 0.1])


def test_the_logged_learning_rate_is_that_of_the_epochs_last_step(run_here):
    folder = run_here(*COSINE, "trainer.max_epochs=2")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, used = WarmupCosine(optimizer, 8), []
    for _ in range(8):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    logged = [value for _, value in scalars_of(folder.path)["train/lr"]]
    assert logged == pytest.approx([used[3], used[7]])


def test_the_learning_rate_is_reduced_when_its_metric_no_longer_improves(run_here):
    for metric in ("val/loss", "train/loss"):
        folder = run_here(*PLATEAU, f"++scheduler.monitor={metric}", "trainer.max_epochs=4")
        _, state, optimizer = end_of(folder)
        losses = [value for _, value in scalars_of(folder.path)[metric]]
        torchs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        plateau = ReduceLROnPlateau(torchs, patience=0, threshold=0.9, factor=0.5)
        for loss in losses:
            plateau.step(loss)
        assert optimizer["param_groups"][0]["lr"] == torchs.param_groups[0]["lr"] < 0.1
        assert state["last_epoch"] == 4


def test_an_epoch_without_validation_does_not_step_a_plateau_schedule(run_here):
    folder = run_here(*PLATEAU, "trainer.max_epochs=4", "++trainer.check_val_every_n_epoch=2")
    assert end_of(folder)[1]["last_epoch"] == 2


@pytest.mark.parametrize("ended", [1, 3])
@pytest.mark.parametrize("chosen", [ONECYCLE, COSINE, PLATEAU], ids=["onecycle", "cosine", "plat"])
def test_an_interrupted_run_resumes_its_schedule_to_the_same_bits(
    chosen, ended, run_here, trained, compose_launch, monkeypatch
):
    epochs = [*chosen, "trainer.max_epochs=4"]
    whole = trained(*epochs)
    save = BestAndLast.save

    def stop(self, trainer, name):
        save(self, trainer, name)
        if (name, trainer.current_epoch, trainer.max_epochs) == ("last", ended - 1, 4):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BestAndLast, "save", stop)
        with pytest.raises(SystemExit):
            run_here(*epochs)
    (stopped,) = {path for path in whole.path.parent.iterdir() if path != whole.path}
    run(compose_launch(quote(f"resume={stopped}")))
    (first, *expected), (second, *found) = end_of(whole), end_of(RunFolder(stopped))
    assert found == expected
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name])


def test_a_run_resumed_for_longer_continues_on_the_longer_schedule(
    run_here, compose_launch, capsys
):
    folder = run_here(*COSINE)
    capsys.readouterr()
    run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=4"))
    assert "it now ends after 16 steps instead of 8" in capsys.readouterr().out
    (_, state, optimizer), (_, expected, theirs) = (
        end_of(folder),
        end_of(run_here(*COSINE, "trainer.max_epochs=4")),
    )
    assert state == expected
    assert optimizer["param_groups"] == theirs["param_groups"]


def test_a_new_learning_rate_keeps_the_reduction_by_a_plateau(run_here, compose_launch):
    folder = run_here(*PLATEAU, "trainer.max_epochs=3")
    share = end_of(folder)[2]["param_groups"][0]["lr"] / 0.1
    assert share < 1
    more = ["optimizer.lr=0.2", "trainer.max_epochs=4", "++trainer.limit_val_batches=1"]
    run(compose_launch(quote(f"resume={folder.path}"), *more))
    logged = [value for _, value in scalars_of(folder.path)["train/lr"]]
    assert logged[3] == pytest.approx(0.2 * share)


NEW_RATES = {
    "MultiStepLR": {"milestones": [1, 3], "gamma": 0.5},
    "OneCycleLR": {"max_lr": 0.01, "total_steps": 8},
    "CyclicLR": {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 2},
    "ExponentialLR": {"gamma": 0.5},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "LinearLR": {"total_iters": 3},
}


@pytest.mark.parametrize("name", NEW_RATES)
def test_a_new_learning_rate_ends_where_a_run_started_with_it_ends(name, run_here, compose_launch):
    adam = "optimizer._target_=torch.optim.Adam"
    folder = run_here(adam, *scheduler(name, **NEW_RATES[name]))
    run(compose_launch(quote(f"resume={folder.path}"), "optimizer.lr=0.02", "trainer.max_epochs=4"))
    expected = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    schedule = getattr(torch.optim.lr_scheduler, name)(expected, **NEW_RATES[name])
    for _ in range(4):
        expected.step()
        schedule.step()
    found = end_of(folder)[2]["param_groups"][0]
    for number in ("lr", "betas", "initial_lr"):
        assert found[number] == pytest.approx(expected.param_groups[0][number]), number


class NeedsGradients(torch.optim.SGD):
    """As SAM, which divides by the norm of the gradients."""

    def step(self, closure):
        loss = closure()
        assert all(w.grad is not None for group in self.param_groups for w in group["params"])
        super().step()
        return loss


def test_a_schedule_of_an_optimizer_that_needs_gradients_is_checked(compose_small, monkeypatch):
    config = compose_small(*scheduler("CosineAnnealingLR", T_max=2)).config
    recipes = {"optimizer": functools.partial(NeedsGradients, lr=0.1)}
    made = schedule_rules.instantiate
    monkeypatch.setattr(
        schedule_rules, "instantiate", lambda node, *a: recipes.get(a[-1]) or made(node, *a)
    )
    schedule_rules.check_schedule(config)


def test_a_schedule_too_short_for_a_longer_run_is_refused(run_here, compose_launch):
    folder = run_here(*scheduler("OneCycleLR", max_lr=0.01, total_steps=3))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="scheduler: cannot be stepped after epoch 4"):
        run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=9"))
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert after == before


def test_mistakes_in_a_schedule_are_reported_before_a_run_has_a_folder(compose_small, tmp_path):
    assert "scheduler.interval=step: ReduceLROnPlateau" in fault(
        compose_small, *PLATEAU, "++scheduler.interval=step"
    )
    assert "scheduler.monitor=val/nope: there is no such metric; there are" in fault(
        compose_small, *PLATEAU, "++scheduler.monitor=val/nope"
    )
    assert "only ReduceLROnPlateau depends on a metric" in fault(
        compose_small, *COSINE, "++scheduler.monitor=val/loss"
    )
    assert "which has no end: set trainer.max_epochs" in fault(
        compose_small, *COSINE, "trainer.max_epochs=-1"
    )
    assert "OneCycleLR gives all parameter groups one step size" in fault(
        compose_small, *ONECYCLE, "++parameter_groups.bias.lr=0.01"
    )
    listed = (*ONECYCLE, "++parameter_groups.bias.lr=0.01", "++scheduler.max_lr=[0.1,0.01]")
    assert next(find_misfits(compose_small(*listed).config), None) is None
    for overrides, message in (
        (
            [*PLATEAU, "++trainer.limit_val_batches=0"],
            "scheduler.monitor=val/loss: there is no val",
        ),
        ([*ONECYCLE, "++scheduler.total_steps=3"], "cannot be stepped after step 4"),
        ([*PLATEAU, "++scheduler.frequency=0"], "scheduler.frequency=0: should be 1 or more"),
        ([*PLATEAU, "++scheduler.interval=week"], "scheduler.interval='week': should be 'step' or"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(compose_small(*overrides))
    assert not [*tmp_path.glob("logs/runs/*")]


def test_schedule_timing_is_taken_out_of_a_partial():
    recipe = functools.partial(OneCycleLR, max_lr=1.0, interval="step", frequency=2)
    schedule = schedule_of(recipe)
    assert (schedule.interval, schedule.frequency) == ("step", 2)
    assert schedule.recipe.keywords == {"max_lr": 1.0}
    assert schedule_of(ReduceLROnPlateau).by_metric
