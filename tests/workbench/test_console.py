"""Tables, paths and warnings on the console."""

import re
import shlex
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from workbench.console import (
    CURVES,
    display_path,
    formatted_warning,
    next_steps,
)
from workbench.errors import is_of_library
from workbench.text import counted, leading_table, show_table


def test_a_table_right_aligns_numbers_and_prints_markup_literally(capsys):
    show_table("a [bold]title", ("name", "value"), [["[red]long", "−1.25"], [":smile:", "–"]])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.rstrip() == "a [bold]title"
    assert [line[1:-1].split("│") for line in lines if line.startswith("│")] == [
        [" [red]long ", " −1.25 "],
        [" :smile:   ", "     – "],
    ]


def test_a_long_cell_is_not_cut_and_escape_codes_are_removed(capsys):
    show_table("", ("name",), [["x" * 300], ["\x1b[31mred"]])
    output = capsys.readouterr().out
    assert "x" * 300 in output
    assert "\x1b" not in output


def test_a_path_in_a_title_is_not_broken(capsys):
    path = f"logs/runs/{'x' * 60}/best.ckpt"
    show_table(f"begins with {path}", ("name",), [["short"]])
    assert capsys.readouterr().out.splitlines()[:2] == ["begins with", path]


def test_table_text_is_wrapped_and_numbers_are_not(capsys):
    name = "the logarithm of something that has quite a long name, by one of its estimators"
    show_table(
        "", ("", "value", "unit"), [[name, "≥ 1234.56", "a unit in words, and more of them"]]
    )
    first, *_ = lines = capsys.readouterr().out.splitlines()
    assert {len(line) for line in lines} == {80}
    assert first.startswith("┏")
    assert len([line for line in lines if "≥ 1234.56" in line]) == 1
    assert " ".join(re.findall(r"^│ (.*?) +│", "\n".join(lines), re.M)) == name


def test_words_are_not_cut_in_a_table_with_many_columns(capsys):
    columns = [f"column {number}" for number in range(12)]
    show_table("", ("name", *columns), [["something", *["1.25"] * 12]])
    output = capsys.readouterr().out
    assert "something" in output
    assert all(column in output for column in columns)
    assert "…" not in output


def test_a_noun_has_the_number_of_what_is_counted():
    texts = [counted(1, "job"), counted(0, "job"), counted(2, "batch"), counted(3000, "process")]
    assert texts == ["1 job", "0 jobs", "2 batches", "3,000 processes"]


def test_columns_that_do_not_fit_the_terminal_are_listed_by_name():
    columns = ["name", *(f"metric {number}" for number in range(9))]
    row = ["something", *["−123.45 ± 0.12"] * 9]
    text, others = leading_table("", columns, [row], at_least=2)
    assert max(map(len, text.splitlines())) <= 80
    assert others == columns[4:]
    assert leading_table("", columns, [row], at_least=6)[1] == columns[6:]


def test_a_path_below_the_working_directory_is_shown_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert display_path(tmp_path / "logs" / "a") == Path("logs/a")
    assert display_path(tmp_path.parent) == tmp_path.parent


@pytest.mark.parametrize("with_curves", [True, False])
def test_the_suggested_commands_name_this_run(with_curves, tmp_path):
    logger = TensorBoardLogger(tmp_path) if with_curves else CSVLogger(tmp_path)
    commands = next_steps(Path("logs/it's"), [logger], {"measure": "measure run={run}"})
    assert [shlex.split(command)[-1] for command in commands.values()] == [
        "run=logs/it's",
        *(["logs/it's", CURVES] if with_curves else []),
    ]


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages", "own_code"])
def test_installed_packages_count_as_libraries_wherever_they_are(folder, tmp_path):
    """In `site-packages`, in the system's `dist-packages`, or by `pip install --user`."""
    file = str(tmp_path / folder / "package.py")
    assert is_of_library(file) == (folder != "own_code")
    shown = formatted_warning("odd", UserWarning, file, 1)
    assert (file in shown) == (folder == "own_code")
