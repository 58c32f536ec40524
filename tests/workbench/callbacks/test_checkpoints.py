"""Which checkpoint is best, and by what."""

import math

import pytest
import torch

from toy import Line
from workbench.callbacks import BestAndLast
from workbench.config.quoting import quote
from workbench.errors import ConfigError
from workbench.runs.weights import load_checkpoint
from workbench.training import run


def _best(monitor="val/loss", mode="min"):
    callback = BestAndLast(monitor, mode)
    callback._metric = monitor
    return callback


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (("val/loss", "min"), 0.5),
        (("val/l1", "min"), None),
        (("val/loss", "max"), None),
    ],
)
def test_a_best_value_is_compared_with_the_same_metric_only(now, expected):
    before = _best()
    before.best = 0.5
    after = _best(*now)
    after.load_state_dict(before.state_dict())
    assert after.best == expected


def test_a_best_value_of_an_older_version_is_gone_on_with():
    callback = _best()
    callback.load_state_dict({"best": 0.5})
    assert callback.best == 0.5


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_the_best(mode):
    callback = _best(mode=mode)
    assert not callback._is_better(math.nan)
    assert callback._is_better(1.0)
    callback.best = 1.0
    assert not callback._is_better(math.nan)


def test_resumed_with_another_monitor_the_best_is_chosen_by_that(trained, compose_launch):
    folder = trained("trainer.max_epochs=1")
    assert load_checkpoint(folder.checkpoint("best"))["global_step"] == 4
    changed = ("++callbacks.checkpoint.mode=max", "trainer.max_epochs=2")
    run(compose_launch(quote(f"resume={folder.path}"), *changed))  # the loss falls
    best = load_checkpoint(folder.checkpoint("best"))
    assert best["global_step"] == 8
    state = next(v for k, v in best["callbacks"].items() if "BestAndLast" in k)
    assert state["best"] == pytest.approx(best["validation"]["loss"])


def test_of_a_run_whose_validation_is_nan_the_final_weights_are_measured(
    run_here, monkeypatch, capsys
):
    original = Line.validation_step

    def step(self, batch, batch_idx):
        original(self, [part * math.nan for part in batch], batch_idx)

    monkeypatch.setattr(Line, "validation_step", step)
    folder = run_here()
    said = capsys.readouterr().out
    assert "\nfinal weights: epoch 2, step 8\n" in said
    metrics = folder.read_metrics()["metrics"]
    assert not [name for name in metrics if name.startswith("val/")]
    assert math.isfinite(metrics["test/loss"])
    best, last = (
        load_checkpoint(folder.checkpoint(name))["state_dict"] for name in ("best", "last")
    )
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_a_monitor_that_does_not_exist_is_named_and_leaves_no_folder(run_here, tmp_path):
    with pytest.raises(ConfigError, match=r"monitor=val/los is not among .* val/loss"):
        run_here("++callbacks.checkpoint.monitor=val/los")
    assert not [*tmp_path.glob("logs/runs/*")]
