"""Shared by all tests: everything runs offline, on small data, and writes to a folder of its own.

`run_here` does in this process what `scripts/train.py` does; `run_script` runs the script itself,
in a process of its own (`warm.py`).
"""

import os

# Before torch is imported, and for processes that tests start: threads of tests that run side by
# side would fight for the cores, and small tensors gain nothing from a second one.
os.environ["OMP_NUM_THREADS"] = "1"

import functools
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from musigma.paths import PROJECT_ROOT
from warm import Started
from workbench.config.launch import Launch, read_launch
from workbench.config.resolvers import register_resolvers
from workbench.runs.folder import RunFolder
from workbench.training import run

SMALL = [
    "data.source=sample",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "model.network.encoder_sizes=[32]",
    "model.network.decoder_sizes=[32]",
    "trainer.log_every_n_steps=2",
    "+trainer.limit_train_batches=5",
    "callbacks.latent_panel=null",  # as long as the rest of such a run; it has tests of its own
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No settings from outside."""
    for name in ("DATA_DIR", "LOCAL_RANK", "WORKBENCH_RUN_FOLDER", "MUSIGMA_TRUSTED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def compose_launch(tmp_path):
    """Overrides → the `Launch` that scripts/train.py would make of them."""

    def compose_them(*overrides: str) -> Launch:
        register_resolvers()
        with initialize_config_dir(str(PROJECT_ROOT / "configs"), version_base="1.3"):
            overrides = (f"log_dir={tmp_path}/logs", *overrides)
            cfg = compose("train", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        cfg = cfg.copy()
        cfg._set_flag("struct", False)
        cfg.pop("hydra")
        return read_launch(cfg)

    return compose_them


@pytest.fixture
def compose_small(compose_launch):
    """Overrides → the `Launch` of a run that takes a second."""
    return functools.partial(compose_launch, *SMALL)


@pytest.fixture
def run_here(compose_small):
    """Overrides → the folder of a small run that was made in this process."""

    def run_them(*overrides: str) -> RunFolder:
        launch = compose_small(*overrides)
        before = set(launch.parent.glob("*"))
        run(launch)
        (path,) = set(launch.parent.glob("*")) - before
        return RunFolder.open(path)

    return run_them


@pytest.fixture
def start_script(tmp_path):
    """Arguments → `scripts/train.py` with them, which has just begun."""

    def start(*arguments: str, **environment: str) -> Started:
        logs = f"log_dir={tmp_path}/logs"
        return Started("scripts/train.py", *arguments, logs, env={**os.environ, **environment})

    return start


@pytest.fixture
def run_script(start_script):
    """Arguments → `scripts/train.py` with them, finished."""

    def run_it(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return start_script(*arguments, **environment).finish()

    return run_it


@pytest.fixture
def only_run(tmp_path):
    """The folder of the one run that a test has made."""

    def find() -> RunFolder:
        (config,) = Path(tmp_path, "logs", "runs").glob("*/config.yaml")
        return RunFolder.open(config.parent)

    return find
