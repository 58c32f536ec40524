"""What the workbench prints."""

from workbench.console import show_table


def test_a_table_aligns_numbers_right_and_prints_text_unchanged(capsys):
    show_table("a [bold]title", ("name", "value"), [["[red]long", "−1.25"], [":smile:", "–"]])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.rstrip() == "a [bold]title"
    assert [line[1:-1].split("│") for line in lines if line.startswith("│")] == [
        [" [red]long ", " −1.25 "],
        [" :smile:   ", "     – "],
    ]


def test_a_wide_table_is_not_squeezed_and_controls_no_terminal(capsys):
    show_table("", ("name",), [["x" * 300], ["\x1b[31mred"]])
    said = capsys.readouterr().out
    assert "x" * 300 in said
    assert "\x1b" not in said
