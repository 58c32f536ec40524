"""A run that is stopped after its training resumes with the remaining work only."""

import os
import signal

import pytest

from curves import scalars_of
from toy import Line
from workbench.callbacks.graceful_stop import SIGNALS
from workbench.jobs.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run

HANDLED = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
"""Not SIGHUP if the tests are run under nohup."""


def _kill_at(patch, method, number, is_due=lambda module: True):
    original = getattr(Line, method)

    def step(self, *arguments):
        if is_due(self):
            os.kill(os.getpid(), number)
        return original(self, *arguments)

    patch.setattr("workbench.training.rehearsal.rehearse", lambda *_: None)
    patch.setattr(Line, method, step)


def _fail_to_train(self, *arguments):
    raise AssertionError("trained again")


def _resume_and_compare(path, whole, compose_launch, monkeypatch):
    monkeypatch.setattr("workbench.training.rehearsal.rehearse", lambda *_: None)
    monkeypatch.setattr(Line, "training_step", _fail_to_train)
    run(compose_launch(quote(f"resume={path}")))
    folder = RunFolder.open(path)
    finished = folder.read_metrics()
    assert finished["status"] == "completed"
    assert finished["metrics"] == whole.read_metrics()["metrics"]
    for name in ("best", "last"):
        found, expected = (load_checkpoint(f.checkpoint(name)) for f in (folder, whole))
        assert found["validation"] == expected["validation"]
    curves = scalars_of(path)
    assert {name: curves[name] for name in curves if "val" in name} == {
        name: points for name, points in scalars_of(whole.path).items() if "val" in name
    }


@pytest.mark.parametrize("number", HANDLED)
@pytest.mark.parametrize("where", ["test_step", "validation_step", "last_batch"])
def test_a_run_stopped_after_training_resumes_with_only_what_is_left(
    where, number, run_here, trained, compose_launch, tmp_path, monkeypatch, capsys
):
    settings = ("++trainer.check_val_every_n_epoch=5",)  # so that the final weights are validated
    whole = trained(*settings)
    capsys.readouterr()
    handlers = [signal.getsignal(n) for n in SIGNALS]
    with monkeypatch.context() as patch:
        if where == "last_batch":
            _kill_at(patch, "training_step", number, lambda module: module.global_step == 7)
        else:
            _kill_at(patch, where, number, lambda module: not module.trainer.sanity_checking)
        with pytest.raises(SystemExit) as stopped:
            run_here(*settings)
    assert stopped.value.code == 130
    (path,) = {p for p in (tmp_path / "logs" / "runs").iterdir() if p != whole.path}
    output = capsys.readouterr().out
    assert f"Stopped. Resume with: python scripts/train.py resume={path}" in output
    assert "best checkpoint: " not in output.replace("testing the best checkpoint: ", "")
    assert RunFolder(path).read_metrics()["status"] == "interrupted"
    assert not list(path.glob("checkpoints/*.partial"))
    assert [signal.getsignal(n) for n in SIGNALS] == handlers
    _resume_and_compare(path, whole, compose_launch, monkeypatch)


def test_a_run_under_nohup_does_not_stop_when_its_terminal_is_closed(run_here, monkeypatch):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _kill_at(monkeypatch, "training_step", signal.SIGHUP)
        assert run_here().read_metrics()["status"] == "completed"
    finally:
        signal.signal(signal.SIGHUP, previous)
