"""What a run says to the person who started it."""

import logging
import warnings
from collections.abc import Mapping
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
    r"Total length of `list` across ranks is zero",  # data.val_size=0 means just that
)


class PrintHandler(logging.Handler):
    """Prints log lines, so that they appear above a progress bar and not within it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        print(self.format(record), flush=True)


def set_up_logging(first_process: bool = True) -> None:
    """Our lines go to the terminal as they are; others speak up to warn, and so do we elsewhere.

    Of Lightning, the profilers may speak: their reports are what one asks them for.
    """
    handler = PrintHandler()
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    for name in ("workbench", the_project().package):
        logging.getLogger(name).setLevel(logging.INFO if first_process else logging.WARNING)
    logging.captureWarnings(True)
    for message in KNOWN_NOISE:
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)
    # It warns of what a resumed run asks it to do: to forget what was logged twice.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)


def show_summary(
    config: dict[str, Any], module: L.LightningModule, data: Any, trainer: L.Trainer, folder: Path
) -> None:
    """What will run, before it runs."""
    device = trainer.strategy.root_device
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    rows = {
        **the_project().describe(config, module, data),
        "device": f"{device}, precision {trainer.precision}{processes}",
        "run folder": str(folder),
    }
    for key, value in rows.items():
        print(f"{key:<12}{printable(value)}", flush=True)


def show_results(
    metrics: Mapping[str, float], meanings: Meanings, weights: str, folder: Path
) -> None:
    """The metrics of the weights of that name, the run folder, and how to look closer.

    Those of training are not among them: they are of an epoch, in which the weights changed.
    """
    table = Table(title=weights, title_justify="left")
    table.add_column("")
    for stage in ("val", "test"):
        table.add_column(stage, justify="right")
    table.add_column("unit")
    measured = [metric for metric in metrics if not metric.startswith("train/")]
    for name in dict.fromkeys(metric.partition("/")[2] for metric in measured):
        values = [metrics.get(f"{stage}/{name}") for stage in ("val", "test")]
        cells = ["–" if value is None else f"{value:.4f}" for value in values]
        table.add_row(name, *cells, meanings.of(name).unit)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if measured:
        console.print(table)
    for note in meanings.notes:
        console.print(note)
    console.print(f"run folder   {folder}")
    console.print(f"look at it   tensorboard --logdir {folder}")
