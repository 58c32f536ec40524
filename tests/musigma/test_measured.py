"""Every metric is of the weights named with it, and nothing unmeasured is shown."""

import json
import math
import os

import pytest
import torch

from curves import scalars_of
from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.loading import load_run
from musigma.module import AutoencoderModule
from musigma.seeding import FIXED_SEED, normal_noise
from resuming import stop_at
from workbench.errors import ConfigError, RunError
from workbench.jobs.quoting import quote
from workbench.runs.curves import read_curves
from workbench.runs.resume import find_runs
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run

pytestmark = pytest.mark.slow

EMA = "++callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging"
THEIRS = (
    "++callbacks.checkpoint=null",
    "++callbacks.theirs._target_=lightning.pytorch.callbacks.ModelCheckpoint",
    "++callbacks.theirs.monitor=val/loss",
)
RISING = "model.objective.beta={_target_:musigma.objectives.schedules.Linear,steps:20}"
EVERY_SECOND = ("++trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")


def _l1(folder, stage, checkpoint="best"):
    """The metric l1, recomputed from a checkpoint, all images at once."""
    model, data, _ = load_run(folder.path, checkpoint)
    data.setup("fit" if stage == "val" else "test")
    loader = data.val_dataloader() if stage == "val" else data.test_dataloader()
    x = loader.dataset.tensors[0]
    with torch.no_grad():
        mu, std = model.encode(x)
        noise = normal_noise(1, len(x), 2, seed=FIXED_SEED)[0]
        return (model.decode(mu + std * noise) - x).abs().mean().item()


def _check_metrics_are_of_best(folder):
    metrics = folder.read_metrics()["metrics"]
    for stage in ("val", "test"):
        assert metrics[f"{stage}/l1"] == pytest.approx(_l1(folder, stage), rel=1e-5), stage


def _epoch_lines(output):
    return [line for line in output.splitlines() if line.startswith("epoch ") and "train" in line]


def _weights(folder, name, key="state_dict"):
    return load_checkpoint(folder.checkpoint(name))[key]


def _curves(folder):
    # When a run that `max_steps` ended is resumed, Lightning's epoch number is one less.
    return {tag: points for tag, points in scalars_of(folder.path).items() if tag != "epoch"}


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


# --- the final weights are validated, once --------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        ("++trainer.max_steps=3",),
        ("++trainer.check_val_every_n_epoch=5",),
        EVERY_SECOND,
        ("++trainer.max_steps=7", "++trainer.val_check_interval=3"),
        ("debug=overfit", "trainer.max_epochs=2", "trainer.log_every_n_steps=1"),
        ("++trainer.max_steps=3", "++trainer.num_sanity_val_steps=0"),
    ],
    ids=["max_steps", "never", "every_second", "interval", "overfit", "no_sanity_check"],
)
def test_unvalidated_final_weights_are_validated_at_the_end(settings, run_here, capsys):
    folder = run_here("model=stochastic_autoencoder", *settings)
    output = capsys.readouterr().out
    assert "validating the final weights" in output
    assert "   val " not in _epoch_lines(output)[-1]
    last = load_checkpoint(folder.checkpoint("last"))
    assert last["validated_step"] == last["global_step"]
    if "debug=overfit" not in settings:  # it validates on a single batch
        assert last["validation"]["l1"] == pytest.approx(_l1(folder, "val", "last"), rel=1e-5)
        _check_metrics_are_of_best(folder)
        step, value = max(scalars_of(folder.path)["val/l1"])  # files of one second have no order
        assert step == last["global_step"] - 1
        assert value == pytest.approx(last["validation"]["l1"])
    assert _weights(folder, "previous", "validation") == {}
    _assert_same(_weights(folder, "previous"), last["state_dict"])


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (EVERY_SECOND, "best checkpoint: epoch 3, step 15"),
        (("++trainer.max_steps=3",), "best checkpoint: epoch 1, step 3"),
    ],
)
def test_final_weights_can_become_the_best_of_lightnings_checkpoints(
    settings, weights, run_here, compose_launch
):
    folder = run_here(*THEIRS, *settings)
    assert folder.read_metrics()["weights"] == weights
    _check_metrics_are_of_best(folder)
    more = "trainer.max_epochs=5" if settings == EVERY_SECOND else "++trainer.max_steps=5"
    run(compose_launch(quote(f"resume={folder.path}"), more))
    assert folder.read_metrics()["status"] == "completed"


def test_an_epoch_without_validation_shows_and_stores_no_validation_metrics(run_here, capsys):
    folder = run_here(*EVERY_SECOND)
    lines = _epoch_lines(capsys.readouterr().out)
    assert ["   val " not in line for line in lines] == [True, False, True]
    assert len(scalars_of(folder.path)["val/loss"]) == 2  # the second one is of the final weights


def test_a_validation_within_an_epoch_is_shown_with_its_step(run_here, capsys):
    folder = run_here("++trainer.val_check_interval=2", "trainer.max_epochs=1")
    output = capsys.readouterr().out
    curve = dict(scalars_of(folder.path)["val/loss"])
    assert sorted(curve) == [1, 3, 4]  # the last one is after training
    shown = [line for line in output.splitlines() if line.startswith("step ")]
    assert [line.split("distortion")[0].split() for line in shown] == [
        ["step", str(step + 1), "val", "loss", f"{curve[step]:.4g}"] for step in (1, 3)
    ]
    assert "   val " not in _epoch_lines(output)[-1]


@pytest.mark.parametrize(
    "settings", [("trainer.max_epochs=0",), ("++trainer.max_time=00:00:00:00",)]
)
def test_a_run_without_a_training_step_reports_step_0(settings, run_here, capsys):
    folder = run_here(*settings)
    assert "\nfinal weights: step 0, data source: sample\n" in capsys.readouterr().out
    metrics = folder.read_metrics()["metrics"]
    assert {name.partition("/")[0] for name in metrics} == {"val", "test"}


def test_without_max_epochs_the_epoch_number_is_shown_without_a_total(run_here, capsys):
    run_here("trainer.max_epochs=-1", "++trainer.max_steps=6")
    lines = _epoch_lines(capsys.readouterr().out)
    assert [line.split("   ")[0] for line in lines] == ["epoch 1", "epoch 2"]


def test_worse_final_weights_leave_the_best_checkpoint_unchanged(run_here, capsys):
    folder = run_here(*EVERY_SECOND, "++callbacks.checkpoint.mode=max")  # the loss falls
    best, last = (load_checkpoint(folder.checkpoint(name)) for name in ("best", "last"))
    assert (best["global_step"], last["global_step"]) == (10, 15)
    assert best["validation"]["loss"] > last["validation"]["loss"]
    _check_metrics_are_of_best(folder)
    output = capsys.readouterr().out
    assert "\nbest checkpoint: epoch 2, step 10, data source: sample\n" in output
    assert folder.read_metrics()["weights"] == "best checkpoint: epoch 2, step 10"


def test_better_final_weights_become_the_best_checkpoint_and_its_best_value(
    trained,
):
    folder = trained(*EVERY_SECOND)
    best = load_checkpoint(folder.checkpoint("best"))
    assert best["global_step"] == 15
    _assert_same(best["state_dict"], _weights(folder, "last"))
    for name in ("best", "last"):
        states = _weights(folder, name, "callbacks")
        state = next(state for key, state in states.items() if "BestAndLast" in key)
        assert state["best"] == pytest.approx(best["validation"]["loss"])


@pytest.mark.parametrize(
    "settings",
    [
        (),
        EVERY_SECOND,
        pytest.param(("++trainer.max_steps=3",), marks=pytest.mark.exhaustive),
        (EMA,),
    ],
)
def test_resuming_a_finished_run_changes_no_checkpoint_no_curve_and_no_metric(
    settings, trained, compose_launch, capsys
):
    folder = trained(*settings)
    files = {path: path.read_bytes() for path in (folder.path / "checkpoints").iterdir()}
    curves, metrics = _curves(folder), folder.read_metrics()
    capsys.readouterr()
    run(compose_launch(quote(f"resume={folder.path}")))
    assert "validating" not in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (folder.path / "checkpoints").iterdir()} == files
    assert _curves(folder) == curves
    after = folder.read_metrics()
    for name in ("metrics", "weights", "best", "status"):
        assert after[name] == metrics[name]


def test_a_run_ended_by_early_stopping_trains_no_further_when_resumed(
    run_here, compose_launch, monkeypatch
):
    stop = "++callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping"
    common = (stop, "++callbacks.stop.monitor=val/loss", "++callbacks.stop.mode=max")
    folder = run_here(*common, "++callbacks.stop.patience=1", "trainer.max_epochs=6")
    assert _weights(folder, "last", "global_step") == 10
    metrics = folder.read_metrics()["metrics"]
    resume = quote(f"resume={folder.path}")
    run(compose_launch(resume))
    assert _weights(folder, "last", "global_step") == 10
    assert folder.read_metrics()["metrics"] == metrics
    run(compose_launch(resume, "++callbacks.stop.patience=3"))  # the new setting takes effect
    assert _weights(folder, "last", "global_step") == 20


@pytest.mark.parametrize("setting", ["data.val_size=0", "++trainer.limit_val_batches=0"])
def test_without_validation_the_final_weights_are_reported_without_val_metrics(
    setting, run_here, capsys
):
    folder = run_here(setting)
    output = capsys.readouterr().out
    assert "validating" not in output
    assert "\nfinal weights: epoch 2, step 10, data source: sample\n" in output
    row = next(line for line in output.splitlines() if line.startswith("│ l1 "))
    assert row.split("│")[2].strip() == "–"
    metrics = folder.read_metrics()["metrics"]
    assert not [name for name in metrics if name.startswith("val/")]
    assert metrics["test/l1"] == pytest.approx(_l1(folder, "test"), rel=1e-5)


def test_a_validated_best_checkpoint_outlives_epochs_without_validation(trained, compose_launch):
    folder = trained()
    best = folder.checkpoint("best").read_bytes()
    changed = ("++trainer.limit_val_batches=0", "trainer.max_epochs=3")
    run(compose_launch(quote(f"resume={folder.path}"), *changed))
    assert folder.checkpoint("best").read_bytes() == best
    assert folder.read_metrics()["weights"] == "best checkpoint: epoch 2, step 10"


def test_without_validation_and_test_there_is_no_table(run_here, capsys):
    folder = run_here("data.val_size=0", "test=false")
    output = capsys.readouterr().out
    assert "│" not in output
    assert all(name.startswith("train/") for name in folder.read_metrics()["metrics"])


def test_fast_dev_run_measures_and_saves_nothing(run_here, capsys):
    folder = run_here("debug=fast_dev_run")
    output = capsys.readouterr().out
    assert "\nfinal weights: step 1, data source: sample\n" in output
    assert "evaluate.py" not in output  # as it would find no checkpoint
    assert not list((folder.path / "checkpoints").iterdir())


def test_the_test_loss_uses_beta_at_the_best_checkpoints_step(run_here):
    """Under a schedule, val/loss and test/loss have the weight β of that step."""
    folder = run_here("model=vae", RISING, "trainer.max_epochs=3")
    worst = run_here(
        "model=vae",
        RISING,
        "trainer.max_epochs=3",
        "++callbacks.checkpoint.mode=max",
    )
    for run_folder in (folder, worst):
        metrics = run_folder.read_metrics()["metrics"]
        step = _weights(run_folder, "best", "global_step")
        beta = min(1.0, step / 20)
        for stage in ("val", "test"):
            total = metrics[f"{stage}/distortion"] + beta * metrics[f"{stage}/rate"]
            expected = total / 784 - math.log(2)
            assert metrics[f"{stage}/loss"] == pytest.approx(expected, rel=1e-5), (stage, step)


# --- averaged weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [(), ("++trainer.max_steps=3",), EVERY_SECOND])
def test_validation_test_and_checkpoint_use_the_same_averaged_weights(settings, trained):
    folder = trained(EMA, "++callbacks.ema.decay=0.8", *settings)
    _check_metrics_are_of_best(folder)
    best = load_checkpoint(folder.checkpoint("best"))
    name = next(iter(best["state_dict"]))
    assert not torch.equal(best["state_dict"][name], best["current_model_state"][name])


def test_evaluate_agrees_with_the_test_metrics_of_averaged_weights(trained, without_plots):
    folder = trained(EMA, "++callbacks.ema.decay=0.8")
    (found,) = evaluate(
        [str(folder.path)], folder.path, checkpoint="best", images=2, samples=25, seed=0
    )
    reported = folder.read_metrics()["metrics"]["test/l1"]
    assert found["l1"]["mean"] == pytest.approx(reported, rel=1e-6)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param((0, 2), marks=pytest.mark.exhaustive),
        pytest.param((1, 0), marks=pytest.mark.exhaustive),
        (1, 4),
    ],
)
def test_a_run_with_averaged_weights_resumes_from_the_raw_weights_to_the_same_bits(
    place, run_here, trained, compose_launch, tmp_path, monkeypatch
):
    whole = trained(EMA, "++callbacks.ema.decay=0.8")
    with monkeypatch.context() as patch:
        stop_at(patch, *place)
        with pytest.raises(SystemExit, match="130"):
            run_here(EMA, "++callbacks.ema.decay=0.8")
    (path,) = {p for p in (tmp_path / "logs" / "runs").iterdir() if p != whole.path}
    run(compose_launch(quote(f"resume={path}")))
    (folder,) = find_runs(str(path), path)
    for name in ("best", "last"):
        for key in ("state_dict", "current_model_state", "averaging_state"):
            _assert_same(_weights(folder, name, key), _weights(whole, name, key))
    assert folder.read_metrics()["metrics"] == whole.read_metrics()["metrics"]


# --- Lightning's own checkpoints ------------------------------------------------------------------


def test_lightnings_best_checkpoint_is_tested_and_opened(run_here, without_plots, capsys):
    folder = run_here(*THEIRS, "trainer.max_epochs=3", "++callbacks.theirs.mode=max")
    assert "testing the best checkpoint: epoch 1, step 5" in capsys.readouterr().out
    assert folder.read_metrics()["best"] == "checkpoints/epoch=0-step=5.ckpt"
    assert folder.checkpoint("best").name == "epoch=0-step=5.ckpt"
    _check_metrics_are_of_best(folder)
    (measured,) = evaluate(
        [str(folder.path)], folder.path, checkpoint="best", images=2, samples=25, seed=0
    )
    assert measured["checkpoint"] == "best"


@pytest.mark.parametrize("logger", ["csv", "none"])
def test_lightnings_best_checkpoint_is_found_anywhere_in_the_run_folder(logger, run_here):
    folder = run_here(*THEIRS, f"logger={logger}")
    assert (folder.path / folder.read_metrics()["best"]).is_file()
    _check_metrics_are_of_best(folder)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_run_with_lightnings_checkpoints_resumes_from_its_newest(
    run_here, trained, compose_launch, capsys
):
    whole = trained(*THEIRS)
    folder = run_here(*THEIRS, "trainer.max_epochs=1")
    capsys.readouterr()
    run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=2"))
    output = capsys.readouterr().out
    assert "starts from the beginning" not in output
    assert "epoch 1/2" not in output
    _assert_same(_weights(folder, "best"), _weights(whole, "best"))
    assert scalars_of(folder.path).keys() == scalars_of(whole.path).keys()


def test_a_run_is_not_resumed_from_a_checkpoint_of_weights_only(trained, compose_launch):
    folder = trained(*THEIRS, "++callbacks.theirs.save_weights_only=true")
    _check_metrics_are_of_best(folder)
    with pytest.raises(RunError, match="holds weights only"):
        run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=3"))


@pytest.mark.parametrize("where", ["absolute", "parent", "link", "number"])
def test_the_recorded_best_checkpoint_is_never_followed_out_of_the_folder(where, trained, tmp_path):
    folder = trained(*THEIRS)
    outside = tmp_path / "outside.ckpt"
    folder.checkpoint("best").replace(outside)
    if where == "link":
        (folder.path / "checkpoints" / "link.ckpt").symlink_to(outside)
    recorded = {
        "absolute": str(outside),
        "parent": os.path.relpath(outside, folder.path),
        "link": "checkpoints/link.ckpt",
        "number": 3,
    }[where]
    folder.write_metrics(best=recorded)
    with pytest.raises(RunError, match="There is no checkpoint|is a link out of the run folder"):
        load_run(folder.path)


def test_without_checkpoints_the_final_weights_are_measured_and_the_run_cannot_be_loaded(
    run_here, capsys
):
    folder = run_here("++callbacks.checkpoint=null", "++trainer.max_steps=3")
    output = capsys.readouterr().out
    assert "testing the final weights: step 3\n" in output
    assert "\nfinal weights: step 3, data source: sample\n" in output
    assert "evaluate.py" not in output
    metrics = folder.read_metrics()["metrics"]
    assert metrics["val/l1"] < 2
    assert "best" not in folder.read_metrics()
    with pytest.raises(RunError, match=r"callbacks\.checkpoint=null or .* a run keeps none"):
        load_run(folder.path)


# --- logging --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batches", "steps"), [(1, [0, 1, 2, 3, 4]), (2, [0, 1, 2])])
def test_an_optimizer_step_is_logged_once_however_many_batches_it_takes(batches, steps, run_here):
    folder = run_here(
        f"+trainer.accumulate_grad_batches={batches}",
        "trainer.log_every_n_steps=1",
        "trainer.max_epochs=1",
    )
    assert [step for step, _ in scalars_of(folder.path)["train/loss_step"]] == steps


@pytest.mark.parametrize("profiler", ["simple", "advanced"])
def test_a_profiler_prints_its_profile_without_other_output_of_lightning(
    profiler, run_here, capsys
):
    run_here("debug=profiler", f"++trainer.profiler={profiler}")
    output = capsys.readouterr().out
    assert "FIT Profiler Report" in output
    assert "run_training_batch" in output
    for chatter in ("GPU available", "Tip", "`Trainer.fit` stopped", "LOCAL_RANK"):
        assert chatter not in output


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("_target_=lightning.pytorch.callbacks.BatchSizeFinder", "set data.batch_size"),
        ("_target_=lightning.pytorch.callbacks.LearningRateFinder", "sweep optimizer.lr"),
        (
            "{_target_:lightning.pytorch.callbacks.StochasticWeightAveraging,swa_lrs:0.01}",
            r"use lightning\.pytorch\.callbacks\.WeightAveraging",
        ),
        (
            "{_target_:lightning.pytorch.callbacks.ModelCheckpoint,dirpath:/tmp/elsewhere}",
            "leave dirpath out",
        ),
    ],
)
def test_callbacks_whose_results_would_be_lost_are_refused_before_the_start(
    setting, message, run_here, tmp_path
):
    override = f"++callbacks.x.{setting}" if setting[0] == "_" else f"++callbacks.x={setting}"
    with pytest.raises(ConfigError, match=rf"callbacks\.x: .*{message}"):
        run_here(override)
    assert not list((tmp_path / "logs").glob("runs/*"))


def test_a_run_folder_with_an_export_inside_counts_as_one_run(trained):
    folder = trained("trainer.max_epochs=1")
    export_run(load_run(folder.path), folder.path / "export")
    assert [found.path for found in find_runs(str(folder.path), folder.path)] == [folder.path]
    (found,) = find_runs(str(folder.path.parent), folder.path)
    assert found.path == folder.path


def test_stale_metrics_in_a_checkpoint_of_an_older_version_are_measured_again(
    trained, compose_launch, capsys
):
    """It stored the sanity check's loss, without its step."""
    folder = trained("++trainer.max_steps=3")
    right = folder.read_metrics()["metrics"]
    path = folder.checkpoint("last")
    checkpoint = load_checkpoint(path)
    checkpoint["validation"] = {"loss": 123.0}
    del checkpoint["validated_step"]
    torch.save(checkpoint, path)
    folder.checkpoint("best").unlink()
    run(compose_launch(quote(f"resume={folder.path}")))
    assert "validating the final weights" in capsys.readouterr().out
    assert json.loads((folder.path / "metrics.json").read_text())["metrics"] == right


def test_the_sanity_check_leaves_no_metrics_behind(run_here, monkeypatch):
    seen = []
    original = AutoencoderModule.on_train_epoch_start

    def look(self):
        seen.append((self.metrics("val"), self.validation()))
        original(self)

    monkeypatch.setattr(AutoencoderModule, "on_train_epoch_start", look)
    run_here("trainer.max_epochs=1")
    assert seen == 2 * [({}, {})]  # in the rehearsal and in the run


# --- parts of the images, and files ---------------------------------------------------------------


def test_metrics_of_a_part_of_the_images_are_labelled_as_such(run_here, capsys):
    parts = ("data.eval_batch_size=100", "++trainer.limit_val_batches=2")
    folder = run_here(*parts, "++trainer.limit_test_batches=0.2", "trainer.max_epochs=1")
    title = "epoch 1, step 5, val on 200 of 500 examples, test on 100 of 500 examples, data source"
    assert title in " ".join(capsys.readouterr().out.split())
    parts = {"val": "200 of 500 examples", "test": "100 of 500 examples"}
    assert folder.read_metrics()["measured_on"] == parts


def test_event_files_of_one_second_are_read_in_the_order_of_writing(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for number, value in ((9, 1.0), (10, 2.0)):
        folder = tmp_path / str(number)
        writer = EventFileWriter(str(folder))
        summary = Summary(value=[Summary.Value(tag="val/loss", simple_value=value)])
        writer.add_event(Event(step=number, wall_time=number, summary=summary))
        writer.close()
        (file,) = folder.iterdir()
        file.rename(tmp_path / f"events.out.tfevents.1700000000.here.5.{number}")
    assert read_curves(tmp_path)["val/loss"] == ([9, 10], [1.0, 2.0])
