"""The capacity objective against its definition."""

import pytest
import torch

from musigma.objectives.capacity import Capacity
from musigma.objectives.schedules import Linear
from objectives import (
    check_it_trains_a_prior,
    check_refusals,
    check_schedule,
    rate_of,
)
from workbench.example_values import ExampleValues


@pytest.mark.parametrize("capacity", [0.0, 3.0, 50.0])
def test_the_loss_adds_gamma_times_the_distance_of_the_rate_to_the_capacity(draw, capacity):
    loss, terms, _ = Capacity(capacity=capacity, gamma=7.0, samples=4)(draw, 0)
    distance = abs(rate_of(draw).sum(1).mean().item() - capacity)
    assert loss.item() == pytest.approx(terms["distortion"].mean().item() + 7 * distance)


def test_capacity_trains_a_learned_prior():
    check_it_trains_a_prior(Capacity())


def test_the_schedule_of_the_capacity_is_followed():
    assert Capacity(capacity=Linear(10)).capacity == Linear(10)
    check_schedule(Capacity(capacity=Linear(steps=10, end=2.0)), "capacity")


def test_the_target_is_the_final_loss_of_the_batch_and_has_no_values_of_single_images(draw):
    rising = Capacity(capacity=Linear(steps=10, end=2.0), samples=4)
    _, terms, _ = rising(draw, 0)
    final = rising(draw, 10).loss
    torch.testing.assert_close(terms["target"], final.expand(len(terms["target"])))
    values = ExampleValues()
    values.add(terms)
    assert "target" not in values.arrays()
    assert "distortion" in values.arrays()


def test_settings_out_of_range_are_refused():
    check_refusals(lambda: Capacity(capacity=-1.0), lambda: Capacity(gamma=-1.0))


def test_with_gamma_zero_the_prior_is_not_used():
    assert Capacity().uses_prior
    assert not Capacity(gamma=0).uses_prior
