"""Normalisation agrees with torchvision's and can be undone."""

import pytest
import torch
from PIL import Image
from torchvision import transforms

from musigma.data.normalization import Standardize, Unit

GREYS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def test_standardize_equals_torchvision_to_the_bit():
    torchvision = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    image = Image.fromarray(GREYS[0, 0].numpy())
    assert torch.equal(Standardize(0.1307, 0.3081)(GREYS)[0], torchvision(image))


@pytest.mark.parametrize("normalization", [Standardize(0.1307, 0.3081), Unit()])
def test_to_unit_gives_the_grey_levels_back(normalization):
    x = normalization(GREYS)
    assert x.dtype == torch.float32
    torch.testing.assert_close(normalization.to_unit(x), GREYS.double().div(255).float())


def test_normalizing_leaves_the_stored_images_alone():
    before = GREYS.clone()
    Standardize(0.5, 0.5)(GREYS)
    assert torch.equal(GREYS, before)
