"""The device that `device=` means on a machine."""

import pytest
import torch

from workbench.devices import exact_device, find_device
from workbench.errors import ConfigError


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many NVIDIA GPUs, and one of Apple's or none."""

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
def test_auto_is_a_gpu_else_apples_else_the_cpu(gpus, apples, chosen, machine):
    machine(gpus, apples)
    assert str(find_device("auto")) == chosen


def test_a_device_is_taken_by_its_name(machine):
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
def test_a_device_that_is_not_there_is_one_line(gpus, name, message, machine):
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
