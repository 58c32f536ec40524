"""What a run prints and logs: warnings, its summary and its results."""

import io
import logging
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from workbench.errors import is_of_library, printable
from workbench.meaning import Meanings
from workbench.project import the_project
from workbench.text import table, wrapped

KNOWN_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"`.fit\(ckpt_path=None\)` was called without a model",  # a false alarm: OnExceptionCheckpoint
    r".fit\(ckpt_path=\"last\"\) is set, but there is no last",  # likewise
    r"GPU available but not used",  # trainer=cpu means just that
    r"When using `Trainer\(accumulate_grad_batches != 1\)`",  # our hook is for each step
    r"Total length of `list` across ranks is zero",  # data.val_size=0 means just that
    r"The number of training batches .* is smaller than the logging",  # epochs are logged too
    # The metric exists once the final weights are validated; a wrong name is refused earlier.
    r"`ModelCheckpoint\(monitor='val/.* could not find the monitored key",
)

CURVES = "http://localhost:6006/#custom_scalars"
"""TensorBoard's tab with the charts of `ScalarLayout`."""

log = logging.getLogger(__name__)


class PrintHandler(logging.Handler):
    """Prints log lines, so that they appear above a progress bar rather than within it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print(self.format(record), flush=True)


def set_up_logging(first_process: bool = True) -> None:
    """Print our INFO messages in the first process; only warnings of libraries or other processes.

    Lightning's profilers are an exception: the user asked for their reports.
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
    # It warns when it drops points that were logged twice, which a resumed run asks it to do.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)


def formatted_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning, wrapped, with its file and line unless it comes from a library."""
    source = "" if is_of_library(filename) else f"{filename}:{lineno}: "
    return wrapped(f"{source}{category.__name__}: {' '.join(str(message).split())}")


def display_path(path: Path) -> Path:
    """A path for messages: relative to the working directory if it lies in there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def show_summary(
    config: dict[str, Any], module: L.LightningModule, data: Any, trainer: L.Trainer, folder: Path
) -> None:
    """Log a summary of a run that is about to start."""
    device = trainer.strategy.root_device
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    rows = {
        **the_project().describe(config, module, data),
        "device": f"{device}, precision {trainer.precision}{processes}",
        "run folder": str(display_path(folder)),
    }
    for key, value in rows.items():
        log.info("%s", wrapped(printable(value), f"{key:<12}"))


def show_results(
    metrics: Mapping[str, float], meanings: Meanings, weights: str, next_lines: Mapping[str, str]
) -> None:
    """Log validation and test metrics under the title `weights`, then `next_lines` by label.

    Training metrics are left out: they average over an epoch in which the weights changed.
    """
    rows = []
    measured = [metric for metric in metrics if not metric.startswith("train/")]
    for name in dict.fromkeys(metric.partition("/")[2] for metric in measured):
        meaning = meanings.of(name)
        values = [metrics.get(f"{stage}/{name}") for stage in ("val", "test")]
        cells = ["–" if value is None else f"{value:.{meaning.places}f}" for value in values]
        rows.append([name, *(cell.replace("-", "−") for cell in cells), meaning.unit])
    if rows:
        log.info("%s", table(weights, ("", "val", "test", "unit"), rows))
    for note in meanings.notes:
        log.info("%s", wrapped(note))
    for label, line in next_lines.items():
        log.info("%s", f"{label:<12}{line}")


def next_steps(
    folder: Path, loggers: Sequence[Logger], commands: Mapping[str, str]
) -> dict[str, str]:
    """Commands to inspect a trained run, and TensorBoard's address, by label."""
    run = shlex.quote(str(display_path(folder)))
    commands = {label: line.format(run=run) for label, line in commands.items()}
    if any(isinstance(logger, TensorBoardLogger) for logger in loggers):
        commands["curves"] = f"tensorboard --logdir {run}"
        commands["then open"] = CURVES
    return commands


@contextmanager
def silenced() -> Iterator[None]:
    """Suppress output, warnings and log messages."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(before)
