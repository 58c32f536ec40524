"""Normalisation agrees with torchvision's and can be undone."""

import math
from typing import get_args

import pytest
import torch
from PIL import Image
from torchvision import transforms

from musigma.data.loader import TensorLoader
from musigma.data.normalization import (
    BinarizeDynamic,
    BinarizeStatic,
    Dequantize,
    NormalizationName,
    Standardize,
    Unit,
    normalization_called,
    normalized_by_index,
)

GREYS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def test_standardize_equals_torchvision_to_the_bit():
    torchvision = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    image = Image.fromarray(GREYS[0, 0].numpy())
    assert torch.equal(Standardize(0.1307, 0.3081)(GREYS)[0], torchvision(image))


COLOURED = torch.stack([GREYS[0, 0], GREYS[0, 0].T, 255 - GREYS[0, 0]])[None]
MEANS, STDS = [0.49, 0.48, 0.45], [0.25, 0.2, 0.3]


def test_each_channel_can_have_its_own_mean_and_std():
    torchvision = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEANS, STDS)])
    image = Image.fromarray(COLOURED[0].permute(1, 2, 0).numpy())
    normalization = Standardize(MEANS, STDS)
    x = normalization(COLOURED)
    assert torch.equal(x[0], torchvision(image))
    for back in (normalization.to_unit(x), normalization.to_unit(x.expand(4, 2, -1, -1, -1))[1]):
        torch.testing.assert_close(back[:1], COLOURED.double().div(255).float())
    # Three densities of 256 pixels each, each squeezed by its own std.
    gain = normalization.log_unit_volume() * COLOURED.numel()
    assert gain == pytest.approx(-256 * sum(map(math.log, STDS)))


@pytest.mark.parametrize("normalization", [Standardize(0.1307, 0.3081), Unit()])
def test_to_unit_recovers_the_grey_levels(normalization):
    x = normalization(GREYS)
    assert x.dtype == torch.float32
    torch.testing.assert_close(normalization.to_unit(x), GREYS.double().div(255).float())


def test_normalizing_does_not_change_the_stored_images():
    before = GREYS.clone()
    Standardize(0.5, 0.5)(GREYS)
    assert torch.equal(GREYS, before)


MANY = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(4000, 1, 16, 16)


def test_binarized_pixels_are_one_with_the_probability_of_their_grey_level():
    x = BinarizeDynamic()(MANY, torch.Generator().manual_seed(1))
    assert set(x.unique().tolist()) == {0, 1}
    expected = GREYS[0].float() / 255
    error = (expected * (1 - expected) / len(MANY)).sqrt() + 1e-9
    assert torch.all((x.mean(0) - expected).abs() < 5 * error)


def test_static_binarization_draws_once_with_a_fixed_seed():
    prepared = BinarizeStatic().prepare(MANY[:50])
    assert torch.equal(prepared, BinarizeStatic().prepare(MANY[:50]))
    x = BinarizeStatic()(prepared, torch.Generator())
    assert torch.equal(x, prepared.float())
    assert set(x.unique().tolist()) == {0, 1}


def test_dequantized_pixels_fill_the_cell_of_their_grey_level():
    x = Dequantize()(MANY[:500], torch.Generator().manual_seed(1))
    assert torch.equal((x * 256).floor().to(torch.uint8), MANY[:500])
    assert (x * 256 % 1).mean().item() == pytest.approx(0.5, abs=0.01)
    assert x.min() >= 0
    assert x.max() < 1


def test_the_common_scale_gains_923_nats_on_standardized_images():
    """log p(x_unit) = log p(x_norm) − 784 · log 0.3081."""
    assert 784 * Standardize(0.1307, 0.3081).log_unit_volume() == pytest.approx(923.03, abs=0.005)
    assert Unit().log_unit_volume() == 0


@pytest.mark.parametrize("name", get_args(NormalizationName))
def test_training_pixels_are_a_function_of_seed_epoch_and_step(name):
    normalization = normalization_called(name, 0.1307, 0.3081, (1, 28, 28))
    images = normalization.prepare(MANY[:32])

    def epoch(seed, number, start=0):
        loader = TensorLoader(
            images, torch.arange(32), batch_size=8, normalization=normalization, seed=seed
        )
        loader.sampler.set_epoch(number)
        loader.load_state_dict({"epoch": number, "next_step": start})
        return torch.cat([batch.x for batch in loader])

    assert torch.equal(epoch(0, 2), epoch(0, 2))
    assert torch.equal(epoch(0, 2)[16:], epoch(0, 2, start=2))
    changes = not torch.equal(epoch(0, 2), epoch(0, 3))
    assert changes == normalization.is_random
    assert (not torch.equal(epoch(0, 2), epoch(1, 2))) == normalization.is_random


def test_an_empty_batch_is_normalised_to_an_empty_batch():
    none = torch.zeros(0, 1, 4, 4, dtype=torch.uint8)
    found = normalized_by_index(BinarizeDynamic(), none, torch.arange(0))
    assert found.shape == none.shape
