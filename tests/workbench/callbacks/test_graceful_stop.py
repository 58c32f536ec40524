"""Signals stop a run, at any moment and in all of its processes."""

import io
import signal
import sys
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from workbench.callbacks import GracefulStop
from workbench.console import set_up_logging


def test_a_signal_during_a_print_stops_the_run_and_loses_no_output(monkeypatch):
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
    stop.setup(SimpleNamespace(local_rank=0, world_size=1), None, "fit")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(terminal)))
    try:
        print("a line", flush=True)
    finally:
        stop.teardown(None, None, "fit")
    assert stop.stopping
    assert terminal.written == b"a line\n"


@pytest.mark.parametrize("asked", [False, True])
def test_processes_share_a_stop_request_without_using_their_devices(asked):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    stop = GracefulStop()
    # Without a strategy there is no device to communicate by.
    trainer = SimpleNamespace(local_rank=0, world_size=2, strategy=None)
    try:
        stop.setup(trainer, None, "fit")
        stop.stopping = asked
        if asked:
            with pytest.raises(KeyboardInterrupt):
                stop.on_train_epoch_start(trainer)
        else:
            stop.on_train_epoch_start(trainer)
    finally:
        stop.teardown()
        dist.destroy_process_group()
