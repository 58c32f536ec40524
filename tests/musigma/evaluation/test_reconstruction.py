"""Errors of reconstructions in closed form."""

import math

import pytest
import torch

from musigma.data.normalization import Standardize, Unit
from musigma.evaluation.reconstruction import (
    class_means,
    pixel_errors,
    reconstruction_errors,
    worst,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_error_of_a_tenth_in_every_pixel_is_20_db(channels):
    x = torch.rand(4, channels, 5, 6)
    found = reconstruction_errors(x, x + 0.1, Unit().to_unit)
    torch.testing.assert_close(found.l1, torch.full((4,), 0.1).double())
    torch.testing.assert_close(found.mse, torch.full((4,), 0.01).double())
    torch.testing.assert_close(found.psnr, torch.full((4,), 20.0).double(), rtol=0, atol=1e-4)


def test_psnr_is_on_the_unit_scale_and_l1_and_mse_on_the_scale_of_the_data():
    x = torch.randn(4, 1, 5, 6)
    found = reconstruction_errors(x, x - 2, Standardize(0.1307, 0.3081).to_unit)
    torch.testing.assert_close(found.l1, torch.full((4,), 2.0).double())
    torch.testing.assert_close(found.mse, torch.full((4,), 4.0).double())
    expected = -20 * math.log10(2 * 0.3081)
    torch.testing.assert_close(found.psnr, torch.full((4,), expected).double(), rtol=0, atol=1e-4)


def test_each_image_has_its_own_error():
    x = torch.zeros(3, 1, 2, 2)
    x_hat = x.clone()
    x_hat[1, 0, 0, 0] = 1.0
    x_hat[2] = 0.5
    found = reconstruction_errors(x, x_hat, Unit().to_unit)
    assert found.l1.tolist() == [0, 0.25, 0.5]
    assert found.mse.tolist() == [0, 0.25, 0.25]
    assert found.psnr[0] == math.inf
    assert found.psnr[1] == found.psnr[2] == pytest.approx(10 * math.log10(4))


def test_errors_are_of_observed_pixels_only():
    torch.manual_seed(0)
    x, x_hat = torch.rand(2, 3, 1, 4, 5)
    observed = torch.rand(3, 1, 4, 5) > 0.4
    found = reconstruction_errors(x, x_hat, Unit().to_unit, observed)
    in_training = pixel_errors(x, x_hat.expand(2, -1, -1, -1, -1), observed)
    for image in range(3):
        error = (x_hat - x)[image][observed[image]]
        assert found.l1[image].item() == pytest.approx(error.abs().mean().item())
        assert found.mse[image].item() == pytest.approx(error.square().mean().item())
        assert found.psnr[image].item() == pytest.approx(-10 * error.square().mean().log10())
        assert in_training["l1"][image].item() == pytest.approx(found.l1[image].item())
        assert in_training["mse"][image].item() == pytest.approx(found.mse[image].item())


def test_class_means_have_standard_errors():
    values = torch.tensor([1.0, 10.0, 3.0, 7.0, 5.0], dtype=torch.float64)
    found = class_means(values, torch.tensor([4, 2, 4, 9, 4]))
    assert found.label.tolist() == [2, 4, 9]
    assert found.mean.tolist() == [10, 3, 7]
    assert found.error[1].item() == pytest.approx(2 / 3**0.5)
    assert found.error[[0, 2]].isnan().all()


def test_the_worst_images_come_first_and_ties_keep_their_order():
    errors = torch.tensor([0.5, 2.0, 0.1, 2.0, 3.0])
    assert worst(errors, 3).tolist() == [4, 1, 3]
    assert worst(errors, 100).tolist() == [4, 1, 3, 0, 2]
    assert worst(torch.zeros(1000), 1000).tolist() == [*range(1000)]
