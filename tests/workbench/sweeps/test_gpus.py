"""The processes of a machine share its GPUs evenly, for as long as they live."""

import os

import pytest
import torch

from script_server import Started
from workbench.sweeps.gpus import lock_gpu, take_one_gpu

HOLD = """
import sys, time
from pathlib import Path
from workbench.sweeps.gpus import lock_gpu
gpu, lock = lock_gpu(("0", "1"), Path(sys.argv[1]))
assert lock_gpu(("0", "1"), Path(sys.argv[1]))[0] == gpu
print(gpu, flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A function that starts a process holding a GPU; returns the process and the GPU's name."""
    started = []

    def start():
        holding = Started("-c", HOLD, str(tmp_path))
        started.append(holding)
        return holding, holding.wait_for("\n").strip()

    yield start
    for holding in started:
        holding.process.kill()


@pytest.mark.slow
def test_processes_share_gpus_evenly_and_free_them_when_killed(holder, tmp_path):
    first, gpu_of_first = holder()
    _, gpu_of_second = holder()
    assert {gpu_of_first, gpu_of_second} == {"0", "1"}
    _, gpu_of_third = holder()
    assert lock_gpu(("0", "1"), tmp_path)[0] != gpu_of_third  # two processes on each
    first.process.kill()
    first.finish()
    _, gpu_of_last = holder()
    assert gpu_of_last == gpu_of_first


def test_a_process_sees_only_its_own_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-abc")
    take_one_gpu({"trainer": {"devices": 1}, "log_dir": str(tmp_path)})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"


@pytest.mark.parametrize("count", [0, 1])
def test_with_fewer_than_two_gpus_nothing_is_set(monkeypatch, tmp_path, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    take_one_gpu({"trainer": {"devices": 1}, "log_dir": str(tmp_path)})
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
