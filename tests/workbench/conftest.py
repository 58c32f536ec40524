"""Let the tests of the workbench work on a project of their own, the toy."""

import pytest

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
from toy import PROJECT
from workbench import project


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setattr(project, "_current", [PROJECT])


@pytest.fixture
def small(_toy):
    """The overrides of a run that takes a fraction of a second."""
    return ["trainer.max_epochs=2"]
