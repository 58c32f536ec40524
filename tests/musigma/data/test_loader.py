"""Batches of images in memory; `test_resumable_loaders.py` has their order and resume."""

import torch

from musigma.data.loader import TensorLoader


def test_batches_hold_the_images_and_labels_of_their_rows():
    images = torch.arange(10).reshape(-1, 1, 1, 1).to(torch.uint8)
    loader = TensorLoader(images, torch.arange(10), batch_size=4, shuffle=True, seed=3)
    batches = list(loader)
    assert sorted(torch.cat([batch.row for batch in batches]).tolist()) == list(range(10))
    for batch in batches:
        assert torch.equal(batch.x.flatten().long(), batch.row)
        assert torch.equal(batch.y, batch.row)
