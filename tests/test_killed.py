"""Killed at any moment, a run can go on, and ends where it would have ended."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from curves import scalars_of
from warm import server
from workbench.config.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training import run

pytestmark = pytest.mark.slow

SHORT = [
    "model=vae",
    "scheduler=cosine",
    "trainer.max_epochs=8",
    "trainer.limit_train_batches=3",
    "callbacks.image_panel=null",
]
BOUNDARIES = [
    ("fsync", "overrides.yaml.partial", 1),
    ("replace", "overrides.yaml", 1),
    ("fsync", "environment.txt.partial", 1),
    ("replace", "environment.txt", 1),
    ("fsync", "metrics.json.partial", 1),
    ("replace", "metrics.json", 1),
    ("fsync", "best.partial", 2),  # the first epoch has left its checkpoints
    ("replace", "best.ckpt", 1),
    ("fsync", "last.partial", 1),
    ("replace", "previous.ckpt", 1),
    ("replace", "last.ckpt", 1),
    ("replace", "last.ckpt", 2),
    ("fsync", "metrics.json.partial", 2),  # training is over
    ("replace", "metrics.json", 2),
    ("replace", "metrics.json", 3),
]
"""An operation, what it is done to, and how often one run does it until it is killed before it."""

KILLS = 50


@pytest.fixture
def launched(compose_small, tmp_path):
    """A name and overrides → a run of its own."""

    def compose_it(name, *overrides):
        return compose_small(*SHORT, f"log_dir={tmp_path}/{name}", *overrides)

    return compose_it


@pytest.fixture
def folder_of(tmp_path):
    """The name of a run → its folder, once it has a config."""

    def find(name):
        path = next((tmp_path / name / "runs").glob("*/config.yaml"), None)
        return path and path.parent

    return find


def _start(launch, target=run, *arguments):
    process = server().Process(target=target, args=(launch, *arguments))
    process.start()
    return process


def _expected(path):
    folder = RunFolder.open(path)
    checkpoints = {name: load_checkpoint(folder.checkpoint(name)) for name in ("last", "best")}
    return checkpoints, scalars_of(path)


def _assert_as_expected(path, expected):
    folder = RunFolder.open(path)
    assert folder.read_metrics()["status"] == "completed"
    checkpoints, curves = expected
    for checkpoint, state in checkpoints.items():
        found = load_checkpoint(folder.checkpoint(checkpoint))
        for key, value in state["state_dict"].items():
            assert torch.equal(found["state_dict"][key], value)
        assert found["global_step"] == state["global_step"]
    assert scalars_of(path) == curves


def _run_until(launch, root, operation, name, times):
    original, calls = getattr(os, operation), 0

    def operate(*arguments):
        nonlocal calls
        calls += _name(arguments[-1], root) == name
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(os, operation, operate)
    run(launch)


def _name(place, root):
    if not isinstance(place, int):
        return Path(place).name
    opened = os.fstat(place)
    same = (p.name for p in root.rglob("*") if os.path.samestat(p.stat(), opened))
    return next(same, None)


def test_killed_at_every_write_a_run_resumes_to_the_same_bits(
    launched, folder_of, compose_launch, tmp_path
):
    _start(launched("whole")).join()
    launch = launched("killed")
    for boundary in BOUNDARIES:
        process = _start(launch, _run_until, tmp_path, *boundary)
        process.join()
        assert process.exitcode == -signal.SIGKILL, boundary
        launch = compose_launch(quote(f"resume={folder_of('killed')}"))
    process = _start(launch)
    process.join()
    assert process.exitcode == 0
    _assert_as_expected(folder_of("killed"), _expected(folder_of("whole")))


@pytest.mark.exhaustive
def test_killed_at_any_moment_a_run_resumes_to_the_same_bits(launched, folder_of, compose_launch):
    dice = random.Random(0)
    process = _start(launched("whole"))
    while not folder_of("whole"):
        time.sleep(0.001)
    begun = time.monotonic()
    process.join()
    seconds = time.monotonic() - begun
    expected = _expected(folder_of("whole"))

    kills = trials = 0
    while kills < KILLS:
        trials += 1
        name = f"trial_{trials}"
        process = _start(launched(name))
        for attempt in range(3):
            while not folder_of(name):
                time.sleep(0.001)
            begun = time.monotonic()
            process.join(dice.uniform(0, seconds))
            if process.exitcode is not None:
                if attempt == 0:  # the first one of all may have been slow
                    seconds = min(seconds, time.monotonic() - begun)
                break
            process.kill()
            process.join()
            kills += 1
            process = _start(compose_launch(quote(f"resume={folder_of(name)}")))
        process.join()
        assert process.exitcode == 0
        _assert_as_expected(folder_of(name), expected)
    print(f"{kills} kills in {trials} runs")
