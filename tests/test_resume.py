"""A run that was stopped and resumed ends like an uninterrupted one."""

import json
import signal

import pytest
import torch

from curves import scalars_of
from killing import assert_same_bits, start
from resuming import flat, stop_at
from workbench.jobs.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run

pytestmark = pytest.mark.slow

EPOCHS = ["trainer.max_epochs=3", "model=vae", "scheduler=cosine"]


@pytest.mark.parametrize("place", [(0, 2), (1, 0), (1, 3), (1, 4), (2, 1)])
def test_interrupted_run_resumes_to_the_same_bits(
    place, run_here, trained, compose_launch, tmp_path, monkeypatch
):
    whole = trained(*EPOCHS)
    with monkeypatch.context() as patch:
        stop_at(patch, *place)
        with pytest.raises(SystemExit) as stopped:
            run_here(*EPOCHS)
    assert stopped.value.code == 130
    (path,) = {p for p in (tmp_path / "logs" / "runs").iterdir() if p != whole.path}
    assert json.loads((path / "metrics.json").read_text())["status"] == "interrupted"
    run(compose_launch(quote(f"resume={path}")))

    for name in ("last", "best"):
        expected = flat(load_checkpoint(whole.checkpoint(name)))
        found = flat(load_checkpoint(path / "checkpoints" / f"{name}.ckpt"))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(found[key], value), key
            elif not key.startswith("/loops"):
                assert found[key] == value, key
    assert scalars_of(path) == scalars_of(whole.path)
    finished = json.loads((path / "metrics.json").read_text())
    assert finished["status"] == "completed"
    assert finished["metrics"] == whole.read_metrics()["metrics"]


def test_a_run_killed_while_writing_a_checkpoint_resumes_to_the_same_bits(
    trained, compose_small, compose_launch, only_run, tmp_path
):
    """Kills at other places are in tests/workbench/test_killed.py."""
    process = start(compose_small(*EPOCHS), tmp_path, "replace", "last.ckpt", 2)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    killed = only_run()
    process = start(compose_launch(quote(f"resume={killed.path}")))
    process.join()
    assert process.exitcode == 0
    assert_same_bits(killed.path, trained(*EPOCHS).path)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # by torch, when it traces
def test_compiled_and_plain_runs_resume_from_each_others_checkpoints(
    run_here, trained, compose_launch, monkeypatch
):
    # The eager backend runs the same operations and needs no compiler.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_(f, backend="eager"))
    plain = trained("model=vae")
    compiled = run_here("model=vae", "compile=true")
    states = [load_checkpoint(run.checkpoint("last"))["state_dict"] for run in (plain, compiled)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value)
    for folder, setting in ((plain, "true"), (compiled, "false")):
        resume = quote(f"resume={folder.path}")
        run(compose_launch(resume, "trainer.max_epochs=3", f"compile={setting}"))
        assert folder.read_metrics()["status"] == "completed"


def test_a_stop_during_gradient_accumulation_waits_for_the_optimizer_step(
    run_here, trained, compose_launch, tmp_path, monkeypatch
):
    settings = ("++trainer.accumulate_grad_batches=2", "model=vae")
    whole = trained(*settings)
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 2)
        with pytest.raises(SystemExit, match="130"):
            run_here(*settings)
    (path,) = {p for p in (tmp_path / "logs" / "runs").iterdir() if p != whole.path}
    assert load_checkpoint(path / "checkpoints" / "last.ckpt")["global_step"] == 2
    run(compose_launch(quote(f"resume={path}")))
    expected = load_checkpoint(whole.checkpoint("last"))["state_dict"]
    found = load_checkpoint(path / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert RunFolder(path).read_metrics()["metrics"] == whole.read_metrics()["metrics"]
