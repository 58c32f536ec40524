"""The log and the end of a run, recorded in its folder however it ends."""

import errno
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.errors import RunError, described
from workbench.runs.folder import RunFolder

log = logging.getLogger(__name__)

FAULTS_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}
"""Faults that have nothing to do with the file that is written."""


@contextmanager
def recorded(folder: RunFolder, is_discarded: Callable[[], bool]) -> Iterator[None]:
    """Write `train.log`, and into `metrics.json` how the run ended and how long it took.

    The seconds of a resumed run are those of all its parts.

    Args:
        folder: of the run.
        is_discarded: whether the caller removes the folder after an error.

    Raises:
        RunError: if the folder could not be written; files written before are intact.
        KeyboardInterrupt: if the user stopped the run before its config was written; the folder is
            removed.
        SystemExit: with status 130, if the user stopped the run later.
        BrokenPipeError: if the reader of the output, such as `head`, has closed it.
    """
    start = time.perf_counter() - folder.read_metrics().get("seconds", 0.0)
    resume = f"python scripts/train.py resume={shlex.quote(str(folder.path))}"
    with _log_file(folder) as log_file, _quiet_writers():
        try:
            yield
        except KeyboardInterrupt:
            if not (folder.path / "config.yaml").exists():  # there is nothing to resume yet
                folder.discard()
                raise
            folder.write_metrics(status="interrupted")
            log.warning("Stopped. Resume with: %s", resume)
            raise SystemExit(130) from None
        except (SystemExit, BrokenPipeError):  # submitit moves the run, or its output was closed
            if folder.read_metrics().get("status") == "running":
                folder.write_metrics(status="interrupted")
            raise
        except BaseException as error:
            with suppress(OSError):
                folder.write_metrics(status="failed", error=described(error))
            # Only into the file: the error itself is shown on the screen.
            text = f"Failed: {error}"
            log_file.handle(log.makeRecord(log.name, logging.ERROR, "", 0, text, (), None))
            if isinstance(error, OSError) and _is_about_writing(error, folder):
                advice = f"Files written before are intact. Free some space, then: {resume}"
                if is_discarded():
                    advice = "Free some space, or choose another place with log_dir=..."
                if not folder.path.is_dir():
                    advice = "It is gone; if you have moved it, resume it there with resume=..."
                message = f"{folder.path} could not be written: {error}\n{advice}"
                raise RunError(message) from error
            raise
        finally:
            with suppress(OSError):
                folder.write_metrics(seconds=round(time.perf_counter() - start, 2))
            folder.release()


def _is_about_writing(error: OSError, folder: RunFolder) -> bool:
    """Whether an error is about the disk or a file of the folder, not about data or a network."""
    file = error.filename
    return error.errno in FAULTS_OF_DISKS or (
        isinstance(file, str | bytes | os.PathLike)  # TensorBoard's are bytes
        and Path(os.fsdecode(file)).absolute().is_relative_to(folder.path.absolute())
    )


@contextmanager
def _log_file(folder: RunFolder) -> Iterator[logging.Handler]:
    """Log into `train.log`; if that cannot be written, the run continues without it."""
    handler = logging.FileHandler(folder.path / "train.log")
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):
            handler.close()


@contextmanager
def _quiet_writers() -> Iterator[None]:
    """Silence OSErrors in writer threads; TensorBoard re-raises its own in the main thread."""
    previous = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, OSError):
            previous(failure)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = previous
