"""Shared by all tests: all run offline, on small data, and write to a folder of their own."""

import pytest

import musigma  # noqa: F401 (and the project is handed over)
from running import (  # noqa: F401
    _alone,
    compose_launch,
    compose_small,
    only_run,
    run_folder,
    run_here,
    run_script,
    start_script,
    trained,
)
from small import SMALL


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    """`device=auto` is the CPU, as the numbers that tests expect are the CPU's."""
    monkeypatch.setattr("workbench.devices.PREFERRED", ("cpu",))


@pytest.fixture
def small():
    """The overrides of a run that takes a second."""
    return SMALL
