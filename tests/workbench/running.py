"""Fixtures that run the project's jobs; each `conftest.py` imports them.

`run_here` does what `scripts/train.py` does, in this process; `run_script` runs the script itself,
in a process of its own (`script_server.py`). A test that only needs a finished run uses `trained`.
The fixture `small`, which a `conftest.py` defines, holds the overrides of a short run.
"""

import os

# Before torch is imported, and for processes that tests start: the threads of parallel tests would
# compete for the cores, and small tensors gain nothing from a second thread.
os.environ["OMP_NUM_THREADS"] = "1"

import functools
import json
import shutil
from pathlib import Path

import pytest

from script_server import Started
from workbench.project import the_project

HERE = "/logs-of-the-test"


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path, tmp_path_factory):
    """Shield a test from settings of its environment, and keep temporary files in pytest's folder.

    Nothing waits for the disk: files of tests need not outlast a power failure.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setattr("os.fsync", lambda file: None)
    trusted = f"{the_project().package.upper()}_TRUSTED"
    for name in ("DATA_DIR", "LOCAL_RANK", "WORKBENCH_RUN_FOLDER", trusted):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@functools.cache
def _composer(configs):
    """The composer that all tests share, which composes each choice of files once."""
    from workbench.jobs.compose import Composer

    return Composer("train")


@functools.cache
def composed(configs, overrides):
    """The config that the overrides compose and its `Launch`, cached for all tests."""
    from workbench.jobs import hydra_adapter
    from workbench.jobs.launch import launch_of

    with hydra_adapter.opened(configs, "train"):
        found = _composer(configs).compose([f"log_dir={HERE}", *overrides])
    assert not found.problems
    cfg = found.config
    return cfg, launch_of(hydra_adapter.resolved(cfg), cfg.hydra)


@pytest.fixture
def compose_launch(tmp_path):
    """Overrides → the `Launch` that `scripts/train.py` would make."""
    from workbench.jobs import hydra_adapter

    def compose_them(*overrides):
        cfg, launch = composed(the_project().configs, overrides)
        hydra_adapter.set_hydra_config(cfg)
        text = json.dumps([launch.config, launch.overrides, str(launch.parent)])
        config, typed, parent = json.loads(text.replace(HERE, f"{tmp_path}/logs"))
        return launch._replace(config=config, overrides=typed, parent=Path(parent))

    return compose_them


@pytest.fixture
def compose_small(compose_launch, small):
    """Overrides → the `Launch` of a run that takes a second."""
    return functools.partial(compose_launch, *small)


@pytest.fixture
def run_here(compose_small):
    """Overrides → the folder of a small run, trained in this process."""
    from workbench.runs.folder import RunFolder
    from workbench.training.run import run

    def run_them(*overrides):
        launch = compose_small(*overrides)
        before = set(launch.parent.glob("*"))
        run(launch)
        (path,) = set(launch.parent.glob("*")) - before
        return RunFolder.open(path)

    return run_them


_trained = {}


@pytest.fixture
def trained(run_here, tmp_path, tmp_path_factory):
    """Overrides → a test's own copy of a small run that is trained once for all tests."""
    from workbench.runs.folder import RunFolder

    def copy_it(*overrides):
        wanted = (the_project().package, *overrides)
        if wanted not in _trained:
            kept = tmp_path_factory.mktemp("trained")
            _trained[wanted] = Path(shutil.move(run_here(*overrides).path, kept))
        path = _trained[wanted]
        place = RunFolder.create(tmp_path / "logs" / "runs", path.name).path
        return RunFolder.open(shutil.copytree(path, place, dirs_exist_ok=True))

    return copy_it


@pytest.fixture
def start_script(tmp_path):
    """Arguments → `scripts/train.py` as a process that has just started."""

    def start(*arguments, **environment):
        options = (*arguments, f"log_dir={tmp_path}/logs")
        root, environment = the_project().root, {**os.environ, **environment}
        return Started("scripts/train.py", *options, cwd=root, env=environment)

    return start


@pytest.fixture
def run_script(start_script):
    """Arguments → `scripts/train.py` as a finished process."""

    def run_it(*arguments, **environment):
        return start_script(*arguments, **environment).finish()

    return run_it


@pytest.fixture
def only_run(tmp_path):
    """A function that returns the folder of the only run that a test has made."""
    from workbench.runs.folder import RunFolder

    def find():
        (config,) = Path(tmp_path, "logs", "runs").glob("*/config.yaml")
        return RunFolder.open(config.parent)

    return find


@pytest.fixture
def run_folder(tmp_path):
    """The smallest folder that counts as a run of a sweep: one with a config."""
    path = tmp_path / "sweep" / "run"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("name: x\n")
    return path
