"""Output that outlives the terminal: a run goes on when its window or connection is closed."""

import errno
import io
import sys
from typing import Any


class TerminalFile(io.FileIO):
    """A terminal to write to; once it is closed, what is written is lost without an error."""

    def write(self, data: Any, /) -> int:
        """Write bytes, and return how many."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def outlive_terminal() -> None:
    """Replace stdout and stderr by streams that do not fail once their terminal is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            buffered = io.BufferedWriter(TerminalFile(stream.fileno(), "w", closefd=False))
            setattr(
                sys,
                name,
                io.TextIOWrapper(buffered, stream.encoding, stream.errors, line_buffering=True),
            )
