"""Schedules are functions of the optimizer step and end at their end value."""

import pytest

from musigma.objectives.schedules import Constant, Cyclical, Linear, as_schedule


def test_linear_rises_and_stays_at_its_end_value():
    schedule = Linear(steps=10, start=0.0, end=4.0)
    assert [schedule(step) for step in (0, 5, 10, 11, 10**9)] == [0, 2, 4, 4, 4]


def test_linear_can_fall():
    assert Linear(steps=4, start=2.0, end=1.0)(2) == 1.5


def test_cyclical_rises_in_each_cycle_and_ends_at_its_end_value():
    schedule = Cyclical(steps=40, cycles=4, ramp=0.5, end=2.0)
    assert [schedule(step) for step in range(10)] == pytest.approx(
        [0, 0.4, 0.8, 1.2, 1.6, 2, 2, 2, 2, 2]
    )
    assert schedule(10) == schedule(20) == schedule(30) == 0
    assert schedule(40) == schedule(1000) == 2


def test_a_number_is_a_constant_schedule():
    assert as_schedule(3) == Constant(3.0)
    assert as_schedule(3)(17) == 3
    linear = Linear(steps=3)
    assert as_schedule(linear) is linear


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear(steps=0),
        lambda: Linear(steps=5, start=-1),
        lambda: Cyclical(steps=10, cycles=0),
        lambda: Cyclical(steps=10, ramp=0),
        lambda: Cyclical(steps=10, ramp=1.5),
        lambda: as_schedule(-0.5),
        lambda: as_schedule(float("nan")),
    ],
)
def test_schedules_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="Input should be"):
        make()
