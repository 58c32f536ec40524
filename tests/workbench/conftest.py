"""The workbench's tests work on a project of their own, the toy."""

import pytest
from toy import PROJECT

from warm import python
from workbench import project


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setattr(project, "_given", [PROJECT])


@pytest.fixture
def train(tmp_path):
    """Arguments → the finished process of the toy's script."""

    def run_it(*arguments):
        done = python(str(PROJECT.root / "train.py"), *arguments, f"log_dir={tmp_path}/logs")
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run_it
