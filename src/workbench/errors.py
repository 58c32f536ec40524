"""Errors that the user can fix; each message says what is wrong, where it came from, what to do."""

import os
import signal
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from workbench.signals import current_handlers, handle, restore

STANDARD = Path(sysconfig.get_path("stdlib")).resolve()
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages; there may be several, of the system and of the user."""


class UserError(Exception):
    """An error that the user can fix."""


class ConfigError(UserError):
    """A wrong setting, named by its place in the config."""


class DataError(UserError):
    """Data that is missing, damaged or of the wrong kind."""


class RunError(UserError):
    """A run folder that cannot be made, opened or resumed."""


_interrupts: list[int] = []


def leave_at_interrupts() -> None:
    """Make Ctrl-C end the process at once, while there is nothing to clean up.

    A KeyboardInterrupt might be swallowed or replaced by half-loaded modules or by Hydra.
    """
    restore(dict.fromkeys(current_handlers([signal.SIGINT]), _leave))


def note_interrupts() -> None:
    """Record Ctrl-C, SIGTERM and SIGHUP, so that `plain_errors` recognizes their exceptions.

    An interrupted import may raise anything.
    """
    handle((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), _note)


def _leave(signum: int, frame: FrameType | None) -> None:
    os.write(2, b"\nStopped.\n")
    os._exit(130)


def _note(signum: int, frame: FrameType | None) -> None:
    _interrupts.append(signum)
    raise KeyboardInterrupt


def one_line(error: BaseException) -> str:
    """The message of an error in one line.

    An UnpicklingError's is replaced: torch's tells the reader how to run the code in the file.
    """
    import pickle

    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than tensors and plain values"
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with the type of the error unless it is a sentence."""
    text = next(filter(None, map(str.strip, str(error).splitlines())), "")
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def described(error: BaseException) -> str:
    """The type and the message of an error, in one line."""
    return f"{type(error).__name__}: {one_line(error)}"


def is_of_library(file: str) -> bool:
    """Whether code of that file is Python's own or that of an installed package."""
    path = Path(file).resolve()
    return path.is_relative_to(STANDARD) or not INSTALLED.isdisjoint(path.parts)


def printable(text: str) -> str:
    """A text with its control characters replaced, except for tabs and newlines."""
    return "".join(char if char.isprintable() or char in "\t\n" else "\ufffd" for char in text)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn a UserError into a message and exit status 2, and Ctrl-C into "Stopped." and 130.

    With `HYDRA_FULL_ERROR=1` in the environment, tracebacks are shown instead.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        is_stopped = isinstance(error, KeyboardInterrupt) or bool(_interrupts)
        if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
            raise
        if is_stopped:
            print("\nStopped.", file=sys.stderr)
            sys.exit(130)
        if not isinstance(error, UserError):
            raise
        print(f"\n{printable(str(error))}", file=sys.stderr)
        sys.exit(2)
