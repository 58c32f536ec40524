"""A run whose loss is not finite stops with an error and keeps its last good checkpoint."""

import json

import pytest
import torch

from toy import Line
from workbench.errors import RunError
from workbench.runs.weights import load_checkpoint

STOP = "+callbacks.finite._target_=workbench.callbacks.StopWhenNotFinite"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    value, run_here, tmp_path, monkeypatch
):
    original = Line.training_step

    def step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 3):
            torch.nn.init.constant_(self.line.bias, value)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Line, "training_step", step)
    expected = rf"At step 8 .* loss = {value}.*\n.*Try a smaller .*lr"
    with pytest.raises(RunError, match=expected):
        run_here(STOP)
    (folder,) = (tmp_path / "logs" / "runs").iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["status"] == "failed"
    assert f"loss = {value}" in metrics["error"]
    for name in ("last", "best"):
        checkpoint = load_checkpoint(folder / "checkpoints" / f"{name}.ckpt")
        assert checkpoint["epoch"] == 0
        assert all(torch.isfinite(v).all() for v in checkpoint["state_dict"].values())


def test_the_last_batch_before_max_steps_is_checked_too(run_here, tmp_path, monkeypatch):
    original = Line.training_step

    def step(self, batch, batch_idx):
        if self.global_step == 5:
            torch.nn.init.constant_(self.line.bias, float("nan"))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Line, "training_step", step)
    with pytest.raises(RunError, match=r"At step 6 .* loss = nan"):
        run_here(STOP, "++trainer.max_steps=6")
    (folder,) = (tmp_path / "logs" / "runs").iterdir()
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["epoch"] == 0


def test_a_far_too_large_learning_rate_ends_in_the_same_error(run_here):
    with pytest.raises(RunError, match="metrics of a batch were not finite"):
        run_here(STOP, "optimizer.lr=1e25")
