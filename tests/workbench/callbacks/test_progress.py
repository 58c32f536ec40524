"""Epoch lines, with and without a progress bar."""

import re

import pytest

from toy import Line
from workbench import interactive
from workbench.callbacks.epoch_lines import four_digits
from workbench.console import formatted_warning

EPOCHS = [
    "epoch 1/2   train loss 3.200   val loss 1.759",
    "epoch 2/2   train loss 1.721   val loss 0.9671",
]


@pytest.mark.parametrize(
    "overrides", [(), ("callbacks.progress=null",), ("+trainer.enable_progress_bar=false",)]
)
def test_a_pipe_gets_epoch_lines_and_no_bar(overrides, run_here, capsys):
    run_here(*overrides)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("epoch")] == EPOCHS
    assert "━━━━" not in "".join(line for line in lines if "┏" not in line and "┡" not in line)
    assert not [line for line in lines if len(line) > 80 and "/logs/runs/" not in line]


def test_a_terminal_shows_no_bar_once_the_run_has_ended(run_here, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_here()
    output = capsys.readouterr().out
    assert "━━━━━━━━━━━━" in output
    assert all(line in output for line in EPOCHS)
    assert not [
        line for line in screen(output) if "━" in line and "┏" not in line and "┡" not in line
    ]


def screen(output):
    """The lines that a terminal shows after a text with the escape codes of Rich's bars."""
    lines, row, column = [""], 0, 0
    for text, control, word in re.findall(
        r"([^\x1b\r\n]+)|(\x1b\[[\d;?]*[A-Za-z])|([\r\n])", output
    ):
        if word == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif word:
            column = 0
        elif control == "\x1b[2K":
            lines[row] = ""
        elif control.endswith("A"):
            row -= int(control[2:-1] or 1)
        elif text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
    return lines


def test_a_notebook_shows_epoch_lines_and_no_bar(compose_small, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    built = interactive.build(compose_small("+trainer.enable_model_summary=false").config)
    built.trainer.fit(built.module, built.data)
    output = capsys.readouterr().out
    assert all(line in output.splitlines() for line in EPOCHS)
    assert "━" not in output
    assert "site-packages" not in output


def test_an_epoch_line_shows_as_many_metrics_as_fit(run_here, capsys, monkeypatch):
    original = Line.add
    names = ("loss", "a_much_longer_name", "another", "one_that_has_no_room_left")

    def add(self, stage, terms):
        original(self, stage, dict.fromkeys(names, terms["loss"]))

    monkeypatch.setattr(Line, "add", add)
    monkeypatch.setattr(Line, "shown", names)
    run_here("trainer.max_epochs=1")
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("epoch")]
    assert (
        line
        == ("epoch 1/1   train loss 3.200   val loss 1.759 a_much_longer_name 1.759 another 1.759")[
            : len(line)
        ]
    )
    assert line.endswith("a_much_longer_name 1.759")
    assert len(line) <= 80


def test_without_validation_the_epoch_line_shows_training_metrics_only(run_here, capsys):
    run_here("trainer.max_epochs=1", "+trainer.limit_val_batches=0", "test=false")
    assert "epoch 1/1   train loss 3.200\n" in capsys.readouterr().out


def test_epoch_numbers_are_aligned(run_here, capsys):
    run_here("trainer.max_epochs=10")
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("epoch")]
    assert [line[:11] for line in lines[-2:]] == ["epoch  9/10", "epoch 10/10"]


@pytest.mark.parametrize(("value", "text"), [(829.0, "829.0"), (1002.83, "1003"), (0.37, "0.3700")])
def test_metrics_are_shown_with_four_digits(value, text):
    assert four_digits(value) == text


def test_a_warning_raised_in_a_library_is_shown_without_its_file():
    output = formatted_warning("a\n  fault " * 20, UserWarning, pytest.__file__, 3)
    assert "site-packages" not in output
    assert all(len(line) <= 80 for line in output.splitlines())
    assert (
        formatted_warning("a fault", UserWarning, "mine.py", 3) == "mine.py:3: UserWarning: a fault"
    )
