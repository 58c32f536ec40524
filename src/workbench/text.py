"""Words and numbers for people: wrapped lines and tables that fit a terminal."""

import io
import textwrap
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from workbench.errors import printable

WIDTH = 80
"""Characters per line of a terminal."""


def counted(count: float, noun: str) -> str:
    """A number with its noun: `1 job`, `2,000 jobs`, `3 batches`."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "ch")) else "s"
    return f"{count:,} {noun}{ending}"


def wrapped(text: str, indent: str = "") -> str:
    """A text wrapped to fit a terminal, without breaking words or paths."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; see `table`."""
    print(table(title, columns, rows), flush=True)


def leading_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], at_least: int
) -> tuple[str, Sequence[str]]:
    """A table of the first columns that fit a terminal, and the names of the columns left out."""
    for count in range(len(columns), at_least - 1, -1):
        text = table(title, columns[:count], [row[:count] for row in rows])
        if max(map(cell_len, text.splitlines())) <= WIDTH:
            break
    return text, columns[count:]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that fits a terminal unless a single word is too long.

    Columns of numbers are aligned right; text is wrapped between words.
    """
    grid = Table()
    rows = [[printable(cell) for cell in row] for row in rows]
    for column, *cells in zip(columns, *rows, strict=True):
        is_numeric = all(cell[:1].isdigit() or cell[:1] in ("", *"-−–≥") for cell in cells)
        unbreakable = [column, *cells] if is_numeric else " ".join([column, *cells]).split()
        grid.add_column(
            column,
            justify="right" if is_numeric else "left",
            no_wrap=is_numeric,
            min_width=max(map(cell_len, unbreakable), default=0),
        )
    for row in rows:
        grid.add_row(*row)
    page = io.StringIO()
    console = Console(
        file=page, width=10_000, color_system=None, highlight=False, markup=False, emoji=False
    )
    narrowest = Measurement.get(console, console.options, grid).minimum
    console.print(grid, width=max(WIDTH, narrowest))
    lines = [*wrapped(title).splitlines(), *page.getvalue().splitlines()]
    return "\n".join(line.rstrip() for line in lines)
