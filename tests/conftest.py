"""Fixtures and hooks of all tests, which run offline, on small data, in folders of their own."""

import gc
import os

import pytest
from hypothesis import settings

import musigma  # noqa: F401 (hands the project to the workbench)
from resuming import resuming  # noqa: F401
from running import (  # noqa: F401
    _isolated,
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
from workbench.fewer_imports import import_torchmetrics

for name, examples in (("few", 40), ("many", 1000)):  # `make test-exhaustive` takes many
    settings.register_profile(name, max_examples=examples, deadline=None, derandomize=True)
settings.load_profile("few")


def pytest_configure():
    """Let torch use one thread per process: tests run in parallel, on small data."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Import torchmetrics as the scripts do, and keep the garbage collector off while collecting.

    Imported modules and collected tests stay in memory, so the collector need not visit them. The
    process that only hands tests to others collects none, and imports nothing.
    """
    gc.disable()
    if not session.config.getoption("numprocesses", None):
        import_torchmetrics()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_runtest_setup(item):
    from extras import is_here

    for mark in item.iter_markers("extras"):
        if not is_here(mark.args[0]):
            pytest.skip(f"{mark.args[0]} is not installed")


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    """Let `device=auto` be the CPU, for which the expected numbers hold."""
    monkeypatch.setattr("workbench.devices.PREFERRED", ("cpu",))


@pytest.fixture
def small():
    """The overrides of a run that takes a second."""
    return SMALL
