"""Output to the terminal: log lines, tables, the summary and the results of a run."""

import logging
import sysconfig
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console
from rich.table import Table

from workbench.errors import printable
from workbench.meaning import Meanings
from workbench.project import the_project

KNOWN_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"`.fit\(ckpt_path=None\)` was called without a model",  # it was not: OnExceptionCheckpoint's
    r".fit\(ckpt_path=\"last\"\) is set, but there is no last",  # likewise
    r"Total length of `list` across ranks is zero",  # data.val_size=0 means just that
    # It is there once the final weights are validated; a name that is wrong is refused before.
    r"`ModelCheckpoint\(monitor='val/.* could not find the monitored key",
)


WIDTH = 80
"""Of a terminal, in characters."""


class PrintHandler(logging.Handler):
    """Prints log lines, so that they appear above a progress bar and not within it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print(self.format(record), flush=True)


def set_up_logging(first_process: bool = True) -> None:
    """Print our INFO messages in the first process; elsewhere, and from others, only warnings.

    Lightning's profilers print too: their reports are what one asks them for.
    """
    logging.basicConfig(
        level=logging.WARNING, handlers=[PrintHandler()], format="%(message)s", force=True
    )
    for name in ("workbench", the_project().package):
        logging.getLogger(name).setLevel(logging.INFO if first_process else logging.WARNING)
    logging.captureWarnings(True)
    warnings.formatwarning = formatted_warning
    for message in KNOWN_NOISE:
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)
    # It warns that it drops what was logged twice, which a resumed run asks it to do.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)


def formatted_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning, without the place in a library that it comes from."""
    is_of_library = filename.startswith(sysconfig.get_path("purelib"))
    place = category.__name__ if is_of_library else f"{filename}:{lineno}: {category.__name__}"
    return wrapped(f"{place}: {' '.join(str(message).split())}")


def wrapped(text: str, indent: str = "") -> str:
    """A text in lines that fit a terminal; words and paths are left whole."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def show_summary(
    config: dict[str, Any], module: L.LightningModule, data: Any, trainer: L.Trainer, folder: Path
) -> None:
    """Print what will run, before it runs."""
    device = trainer.strategy.root_device
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    rows = {
        **the_project().describe(config, module, data),
        "device": f"{device}, precision {trainer.precision}{processes}",
        "run folder": str(folder),
    }
    for key, value in rows.items():
        print(wrapped(printable(value), f"{key:<12}"), flush=True)


def show_results(
    metrics: Mapping[str, float], meanings: Meanings, weights: str, folder: Path
) -> None:
    """Print the metrics of the weights of that name, the run folder, and how to look closer.

    Those of training are left out: they are of an epoch, in which the weights changed.
    """
    rows = []
    measured = [metric for metric in metrics if not metric.startswith("train/")]
    for name in dict.fromkeys(metric.partition("/")[2] for metric in measured):
        values = [metrics.get(f"{stage}/{name}") for stage in ("val", "test")]
        cells = ["–" if value is None else f"{value:.4f}" for value in values]
        rows.append([name, *cells, meanings.of(name).unit])
    if rows:
        show_table(weights, ("", "val", "test", "unit"), rows)
    for line in meanings.notes:
        print(line)
    print(f"run folder   {folder}\nlook at it   tensorboard --logdir {folder}", flush=True)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, as wide as it needs to be; columns of numbers are aligned right."""
    table = Table(title=title or None, title_justify="left")
    rows = list(rows)
    for column, *cells in zip(columns, *rows, strict=True):
        is_numeric = all(cell[:1].isdigit() or cell[:1] in ("", "-", "−", "–") for cell in cells)
        table.add_column(column, justify="right" if is_numeric else "left")
    for row in rows:
        table.add_row(*map(printable, row))
    Console(highlight=False, markup=False, emoji=False, width=1000).print(table, soft_wrap=True)
