"""A resumed run keeps the record of how it began and why it ended."""

import pytest

from workbench.jobs.quoting import quote
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run


@pytest.mark.parametrize(
    ("ended_by", "message", "change"),
    [
        ("stopping_threshold=9", "stopping_threshold=9", "stopping_threshold=0.01"),
        ("divergence_threshold=0.01", "divergence_threshold=0.01", "divergence_threshold=9"),
        ("patience=1", "patience=1", "patience=5"),
    ],
)
def test_early_stopping_is_given_as_the_reason_until_its_setting_is_changed(
    ended_by, message, change, run_here, compose_launch, capsys
):
    stop = "++callbacks.stop."
    mode = "max" if "patience" in ended_by else "min"
    more = f"{stop}monitor=val/loss", f"{stop}mode={mode}", f"{stop}{ended_by}"
    folder = run_here(
        f"{stop}_target_=lightning.pytorch.callbacks.EarlyStopping", *more, "trainer.max_epochs=4"
    )
    steps = load_checkpoint(folder.checkpoint("last"))["global_step"]
    assert steps < 16
    resume = quote(f"resume={folder.path}")
    capsys.readouterr()
    run(compose_launch(resume, "trainer.max_epochs=5"))
    text = capsys.readouterr().out
    assert "early stopping has ended this run: val/loss" in text
    assert message in text
    assert load_checkpoint(folder.checkpoint("last"))["global_step"] == steps
    run(compose_launch(resume, f"{stop}{change}"))
    assert load_checkpoint(folder.checkpoint("last"))["global_step"] > steps


def test_a_resumed_run_keeps_the_record_of_how_it_began(trained, compose_launch, monkeypatch):
    folder = trained("trainer.max_epochs=1")
    typed, environment = folder.read_overrides(), folder.read_environment()
    seconds = folder.read_metrics()["seconds"]
    resume = quote(f"resume={folder.path}")
    run(compose_launch(resume, "trainer.max_epochs=2"))
    assert folder.read_environment() == environment
    assert folder.read_overrides()[: len(typed)] == typed
    assert folder.read_overrides()[-1] == "trainer.max_epochs=2"
    assert not any(override.startswith("resume") for override in folder.read_overrides())
    assert folder.read_metrics()["seconds"] > seconds
    monkeypatch.setattr(
        "workbench.training.records.describe_environment", lambda device: "elsewhere\n"
    )
    run(compose_launch(resume, "trainer.max_epochs=3"))
    assert folder.read_environment().startswith(environment)
    assert folder.read_environment().endswith("\n\nelsewhere\n")
