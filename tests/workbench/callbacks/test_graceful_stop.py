"""A signal is heard whenever it comes."""

import io
import signal
import sys
from types import SimpleNamespace

from workbench.callbacks import GracefulStop
from workbench.console import set_up_logging


def test_a_signal_in_the_middle_of_a_print_breaks_nothing(monkeypatch):
    class InterruptedTerminal(io.RawIOBase):
        written = b""

        def writable(self):
            return True

        def write(self, data):
            if not self.written:
                signal.raise_signal(signal.SIGINT)
            self.written += bytes(data)
            return len(data)

    terminal = InterruptedTerminal()
    set_up_logging()
    stop = GracefulStop()
    stop.setup(SimpleNamespace(local_rank=0), None, "fit")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(terminal)))
    try:
        print("a line", flush=True)
    finally:
        stop.teardown(None, None, "fit")
    assert stop.stopping
    assert terminal.written == b"a line\n"
