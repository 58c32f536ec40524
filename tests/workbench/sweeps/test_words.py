"""Numbers and comparisons of a report, in words."""

import math

import pytest

from workbench.sweeps.scales import describe_differences
from workbench.sweeps.words import number


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1234.5678, math.nan, "1234.57"),
        (-0.5, 0.125, "−0.50 ± 0.12"),
        (1.8e28, 0.25, "1.8e+28 ± 0.25"),
        (math.nan, math.nan, "–"),
    ],
)
def test_a_number_has_fixed_decimals_and_a_huge_one_an_exponent(value, error, text):
    assert number(value, 2, error) == text


def test_scales_with_different_numbers_of_parts_are_told_apart():
    """As for a foreign LightningModule beside a module of the project."""
    scales = [("MNIST", "as Mine logs it"), ("MNIST", "log p(x)", "Laplace likelihood")]
    assert describe_differences(scales) == ["as Mine logs it", "log p(x), Laplace likelihood"]
