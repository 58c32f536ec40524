"""Epoch lines, with and without a progress bar."""

import pytest

from toy import Line
from workbench.console import formatted_warning

EPOCHS = [
    "epoch 1/2   train loss 3.2   val loss 1.759",
    "epoch 2/2   train loss 1.721   val loss 0.9671",
]


@pytest.mark.parametrize(
    "overrides", [(), ("callbacks.progress=null",), ("+trainer.enable_progress_bar=false",)]
)
def test_in_a_pipe_there_are_lines_and_no_bar(overrides, run_here, capsys):
    run_here(*overrides)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("epoch")] == EPOCHS
    assert "━━━━" not in "".join(line for line in lines if "┏" not in line and "┡" not in line)
    assert not [line for line in lines if len(line) > 80 and "/logs/runs/" not in line]


def test_in_a_terminal_there_is_a_bar_too(run_here, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_here()
    said = capsys.readouterr().out
    assert "━━━━━━━━━━━━" in said
    assert all(line in said for line in EPOCHS)


def test_a_long_line_becomes_two(run_here, capsys, monkeypatch):
    original = Line.add

    def add(self, stage, terms):
        names = ("loss", "a_much_longer_name", "another")
        original(self, stage, dict.fromkeys(names, terms["loss"]))

    monkeypatch.setattr(Line, "add", add)
    monkeypatch.setattr(Line, "shown", ("loss", "a_much_longer_name", "another"))
    run_here("trainer.max_epochs=1")
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("epoch 1/1   train loss 3.2 a_much_longer_name 3.2 another 3.2")
    assert lines[start + 1] == "            val   loss 1.759 a_much_longer_name 1.759 another 1.759"


def test_a_warning_names_no_file_of_a_library():
    said = formatted_warning("a\n  fault " * 20, UserWarning, pytest.__file__, 3)
    assert "site-packages" not in said
    assert all(len(line) <= 80 for line in said.splitlines())
    assert (
        formatted_warning("a fault", UserWarning, "mine.py", 3) == "mine.py:3: UserWarning: a fault"
    )
