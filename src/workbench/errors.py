"""The errors a user can mend. Each message says what is wrong, where it came from, what to do."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class UserError(Exception):
    """Something the user can mend."""


class ConfigError(UserError):
    """A setting that cannot be right, named by its place in the config."""


class DataError(UserError):
    """Data that is missing, damaged or not what its name says."""


class RunError(UserError):
    """A run folder that cannot be made, opened or continued."""


_interrupts: list[int] = []


def leave_at_interrupts() -> None:
    """Ctrl-C ends the process there and then, for as long as there is nothing to put in order.

    An exception would be swallowed or made another one, by half-loaded modules and by Hydra.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _leave)


def note_interrupts() -> None:
    """Remember Ctrl-C and SIGTERM, so that `plain_errors` knows what an exception came from.

    Interrupted imports end in whatever their half-loaded modules raise.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _note)


def _leave(signum: int, frame: FrameType | None) -> None:
    os.write(2, b"\nStopped.\n")
    os._exit(130)


def _note(signum: int, frame: FrameType | None) -> None:
    _interrupts.append(signum)
    raise KeyboardInterrupt


def printable(text: str) -> str:
    """A text without the signs that make a terminal do something, but for tabs and new lines."""
    return "".join(sign if sign.isprintable() or sign in "\t\n" else "\ufffd" for sign in text)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within it a UserError is a message and exit status 2, and Ctrl-C a word and 130.

    With `HYDRA_FULL_ERROR=1` in the environment they keep their tracebacks.
    """
    try:
        yield
    except BrokenPipeError:  # whoever read the output has seen enough
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
