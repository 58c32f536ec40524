"""The device that `device=` chooses on a machine."""

import pytest
import torch

from workbench.devices import exact_device, find_device
from workbench.errors import ConfigError


@pytest.fixture
def machine(monkeypatch):
    """A function that simulates a machine with some NVIDIA GPUs, and with or without Apple's."""

    def make(gpus, apples=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apples)

    monkeypatch.setattr("workbench.devices.PREFERRED", ("cuda", "mps", "cpu"))
    return make


@pytest.mark.parametrize(
    ("gpus", "apples", "chosen"),
    [(2, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps_then_the_cpu(gpus, apples, chosen, machine):
    machine(gpus, apples)
    assert str(find_device("auto")) == chosen


def test_a_device_can_be_named(machine):
    machine(2, apples=True)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        assert str(find_device(name)) == name


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        (0, "cuda", "finds none on this machine; use device=auto or device=cpu"),
        (0, "mps", "finds none on this machine"),
        (2, "cuda:2", "finds 2 of that kind on this machine"),
        (2, "gpu", "should be auto, cpu, cuda, cuda:1"),
        (2, "cuda:", "should be auto"),
        (2, "meta", "should be auto"),
    ],
)
def test_a_missing_or_unknown_device_is_refused_in_one_line(gpus, name, message, machine):
    machine(gpus)
    with pytest.raises(ConfigError, match=rf"^device={name}: [^\n]*{message}"):
        find_device(name)


def test_on_a_gpu_convolutions_are_as_exact_as_on_the_cpu(machine, monkeypatch):
    machine(1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    exact_device("cpu")
    assert torch.backends.cudnn.allow_tf32
    exact_device("cuda")
    assert not torch.backends.cudnn.allow_tf32
