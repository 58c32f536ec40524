"""What is printed to a terminal that was closed is lost without an error."""

import os
import sys

import pytest

from workbench.terminal import TerminalFile, outlive_terminal


def test_printing_to_a_closed_terminal_is_no_error(monkeypatch):
    ours, theirs = os.openpty()
    with open(theirs, "w", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        outlive_terminal()
        print("before: µ")
        assert os.read(ours, 100).decode() == "before: µ\r\n"
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(theirs, b"x")
        print("after", flush=True)
        sys.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full")
def test_another_error_of_a_stream_is_raised():
    with TerminalFile("/dev/full", "w") as full, pytest.raises(OSError, match="No space"):
        full.write(b"lost")
