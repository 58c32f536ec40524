"""Images are kept on the training device if they fit; the device "meta" stands for a GPU."""

import logging

import pytest
import torch

from musigma.data import loader, memory
from musigma.data.loader import InMemory, TensorLoader

GPU = torch.device("meta")
IMAGES = torch.zeros(100, 1, 10, 10, dtype=torch.uint8)  # 10,000 bytes


def _placed(images):
    """The device on which images end up that should be kept on the GPU."""
    return InMemory(images, torch.zeros(0)).placed(GPU).images.device.type


@pytest.mark.parametrize(("free", "device"), [(20_000, "meta"), (19_999, "cpu"), (None, "meta")])
def test_images_take_half_of_the_free_memory_at_most(free, device, monkeypatch):
    monkeypatch.setattr(loader, "free_memory", lambda device: free)
    assert _placed(IMAGES) == device


def test_images_that_do_not_fit_on_the_gpu_stay_on_the_host_and_the_log_says_so(
    monkeypatch, caplog
):
    monkeypatch.setattr(loader, "free_memory", lambda device: 2**30)
    with caplog.at_level(logging.INFO):
        _placed(IMAGES)
        assert not caplog.messages
        _placed(torch.zeros(2**29 + 1, dtype=torch.uint8))
    assert "0.5 GiB of the 1.0 GiB that are free on meta: they stay in\nthe host" in caplog.text


def test_the_cpu_has_no_memory_limit_of_its_own():
    assert memory.free_memory(torch.device("cpu")) is None


def test_batches_of_images_on_the_host_are_moved_to_the_gpu(monkeypatch):
    monkeypatch.setattr(torch, "Generator", lambda device: None)  # torch has none on this device
    loader = TensorLoader(IMAGES, torch.zeros(100), batch_size=60, device=GPU)
    assert [len(batch.x) for batch in loader] == [60, 40]
    assert {part.device.type for batch in loader for part in batch} == {"meta"}
