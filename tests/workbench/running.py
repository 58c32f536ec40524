"""Fixtures that run the project's jobs; each `conftest.py` takes them from here.

`run_here` does in this process what `scripts/train.py` does; `run_script` runs the script itself,
in a process of its own (`warm.py`). A test that needs a finished run and no more asks for
`trained`. The fixture `small`, which a `conftest.py` adds, holds the overrides of a short run.
"""

import os

# Before torch is imported, and for processes that tests start: threads of tests that run side by
# side would fight for the cores, and small tensors gain nothing from a second one.
os.environ["OMP_NUM_THREADS"] = "1"

import functools
import json
import shutil
from pathlib import Path

import pytest

from warm import Started
from workbench.project import the_project

HERE = "/logs-of-the-test"


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path, tmp_path_factory):
    """No settings from outside, and nothing left there by processes that are killed.

    Nothing waits for the disk: what tests write need not outlast a power failure.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setattr("os.fsync", lambda file: None)
    trusted = f"{the_project().package.upper()}_TRUSTED"
    for name in ("DATA_DIR", "LOCAL_RANK", "WORKBENCH_RUN_FOLDER", trusted):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@functools.cache
def _composer(configs):
    """One for all tests, as each choice of files is composed once."""
    from workbench.config.compose import Composer

    return Composer("train")


@functools.cache
def composed(configs, overrides):
    """What the overrides compose, and the `Launch` of it, once for all tests."""
    from workbench.config import hydra_adapter
    from workbench.config.launch import read_launch
    from workbench.config.resolvers import register_resolvers

    register_resolvers()
    with hydra_adapter.opened(configs, "train"):
        found = _composer(configs).compose([f"log_dir={HERE}", *overrides])
    assert not found.problems
    cfg = found.config
    shown = cfg.copy()
    shown._set_flag("struct", False)
    shown.pop("hydra")
    return cfg, read_launch(shown)


@pytest.fixture
def compose_launch(tmp_path):
    """Overrides → the `Launch` that `scripts/train.py` would make of them."""
    from hydra.core.hydra_config import HydraConfig

    def compose_them(*overrides):
        cfg, launch = composed(the_project().configs, overrides)
        HydraConfig.instance().set_config(cfg)
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
    """Overrides → the folder of a small run that was made in this process."""
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
    """Overrides → a small run of the test's own: a copy of one that was made for many tests."""
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
    """Arguments → `scripts/train.py` with them, which has just begun."""

    def start(*arguments, **environment):
        options = (*arguments, f"log_dir={tmp_path}/logs")
        root, environment = the_project().root, {**os.environ, **environment}
        return Started("scripts/train.py", *options, cwd=root, env=environment)

    return start


@pytest.fixture
def run_script(start_script):
    """Arguments → `scripts/train.py` with them, finished."""

    def run_it(*arguments, **environment):
        return start_script(*arguments, **environment).finish()

    return run_it


@pytest.fixture
def only_run(tmp_path):
    """The folder of the one run that a test has made."""
    from workbench.runs.folder import RunFolder

    def find():
        (config,) = Path(tmp_path, "logs", "runs").glob("*/config.yaml")
        return RunFolder.open(config.parent)

    return find


@pytest.fixture
def run_folder(tmp_path):
    """The path of the least that a sweep takes for a run: a folder with a config."""
    path = tmp_path / "sweep" / "run"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("name: x\n")
    return path
