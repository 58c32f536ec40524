"""Which checkpoint is the best, and by which metric."""

import functools
import math
from pathlib import Path
from typing import ClassVar

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.utilities import _scan_checkpoints

from toy import Line, Points
from workbench.callbacks import BestAndLast
from workbench.errors import ConfigError
from workbench.jobs.quoting import quote
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run


def _best(monitor="val/loss", mode="min"):
    callback = BestAndLast(monitor, mode)
    callback.metric = monitor
    return callback


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (("val/loss", "min"), 0.5),
        (("val/l1", "min"), None),
        (("val/loss", "max"), None),
    ],
)
def test_a_best_value_is_kept_only_for_the_same_metric_and_direction(now, expected):
    before = _best()
    before.best = 0.5
    after = _best(*now)
    after.load_state_dict(before.state_dict())
    assert after.best == expected


def test_a_best_value_saved_by_an_older_version_is_kept():
    callback = _best()
    callback.load_state_dict({"best": 0.5})
    assert callback.best == 0.5


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_the_best(mode):
    callback = _best(mode=mode)
    assert not callback.judge(math.nan)
    assert callback.judge(1.0)
    assert not callback.judge(math.nan)
    assert callback.best == 1.0


def test_a_run_resumed_with_another_direction_chooses_its_best_by_it(trained, compose_launch):
    folder = trained("trainer.max_epochs=1")
    assert load_checkpoint(folder.checkpoint("best"))["global_step"] == 4
    changed = ("++callbacks.checkpoint.mode=max", "trainer.max_epochs=2")
    run(compose_launch(quote(f"resume={folder.path}"), *changed))  # the loss falls
    best = load_checkpoint(folder.checkpoint("best"))
    assert best["global_step"] == 8
    state = next(v for k, v in best["callbacks"].items() if "BestAndLast" in k)
    assert state["best"] == pytest.approx(best["validation"]["loss"])


def test_a_run_whose_validation_is_always_nan_measures_its_final_weights(
    run_here, monkeypatch, capsys
):
    original = Line.validation_step

    def step(self, batch, batch_idx):
        original(self, [part * math.nan for part in batch], batch_idx)

    monkeypatch.setattr(Line, "validation_step", step)
    folder = run_here()
    output = capsys.readouterr().out
    assert "\nfinal weights: epoch 2, step 8\n" in output
    metrics = folder.read_metrics()["metrics"]
    assert not [name for name in metrics if name.startswith("val/")]
    assert math.isfinite(metrics["test/loss"])
    best, last = (
        load_checkpoint(folder.checkpoint(name))["state_dict"] for name in ("best", "last")
    )
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_an_unknown_monitor_is_reported_and_leaves_no_folder(run_here, tmp_path):
    with pytest.raises(ConfigError, match=r"monitor=val/los is not among .* val/loss"):
        run_here("++callbacks.checkpoint.monitor=val/los")
    assert not [*tmp_path.glob("logs/runs/*")]


def _trainer(folder, epochs=2, **more):
    return L.Trainer(
        default_root_dir=folder,
        callbacks=[BestAndLast()],
        max_epochs=epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **{"logger": False, **more},
    )


def _line():
    return Line(torch.nn.Linear(1, 1), optimizer=functools.partial(torch.optim.SGD, lr=0.1))


def test_a_plain_lightning_trainer_finds_best_and_last_by_name(tmp_path):
    trainer, data = _trainer(tmp_path), Points()
    trainer.fit(_line(), datamodule=data)
    files = tmp_path / "checkpoints"
    callback = trainer.checkpoint_callback
    assert callback.best_model_path == str(files / "best.ckpt")
    assert callback.last_model_path == str(files / "last.ckpt")
    assert callback.best_model_score == pytest.approx(float(trainer.callback_metrics["val/loss"]))
    (tested,) = trainer.test(ckpt_path="best", datamodule=data, verbose=False)
    assert tested["test/loss"] == pytest.approx(float(callback.best_model_score))
    assert trainer.lightning_module.tested_step == 8
    again = _trainer(tmp_path, epochs=3)
    again.fit(_line(), datamodule=data, ckpt_path="last")
    assert again.global_step == 12
    last = load_checkpoint(files / "last.ckpt")
    assert str(tmp_path) not in str(last["callbacks"])
    assert last["callbacks"].keys() == {"BestAndLast"}


def test_loggers_that_upload_checkpoints_get_best_and_last(tmp_path):
    class Keeping(CSVLogger):
        found: ClassVar[list] = []

        def after_save_checkpoint(self, checkpoint_callback):
            self.found += _scan_checkpoints(checkpoint_callback, {})

    _trainer(tmp_path, logger=Keeping(tmp_path)).fit(_line(), datamodule=Points())
    assert {(Path(path).name, tag) for _, path, _, tag in Keeping.found} == {
        ("best.ckpt", "best"),
        ("last.ckpt", "latest"),
    }


def test_lightnings_callback_keeps_more_checkpoints_beside_best_and_last(run_here):
    folder = run_here(
        "+callbacks.three._target_=lightning.pytorch.callbacks.ModelCheckpoint",
        "+callbacks.three.save_top_k=3",
        "+callbacks.three.monitor=val/loss",
        "trainer.max_epochs=4",
    )
    kept = {path.name for path in (folder.path / "checkpoints").iterdir()}
    assert kept == {"best.ckpt", "last.ckpt", "previous.ckpt"} | {
        f"epoch={epoch}-step={4 * epoch + 4}.ckpt" for epoch in (1, 2, 3)
    }
    assert folder.read_metrics()["best"] == "checkpoints/best.ckpt"
