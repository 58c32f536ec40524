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


def note_interrupts() -> None:
    """Remember Ctrl-C, so that `plain_errors` knows what an exception came from.

    Interrupted imports end in whatever their half-loaded modules raise.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _note)


def _note(signum: int, frame: FrameType | None) -> None:
    _interrupts.append(signum)
    raise KeyboardInterrupt


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
        if isinstance(error, UserError):
            print(f"\n{error}", file=sys.stderr)
            sys.exit(2)
        if not is_stopped:
            raise
        print("\nStopped.", file=sys.stderr)
        sys.exit(130)
