"""A run that is killed at any moment can be resumed and ends like an uninterrupted one."""

import random
import signal
import time

import pytest

from killing import assert_same_bits, start
from workbench.jobs.quoting import quote

pytestmark = pytest.mark.slow

BOUNDARIES = [
    ("fsync", "overrides.yaml.partial", 1),
    ("replace", "overrides.yaml", 1),
    ("fsync", "environment.txt.partial", 1),
    ("replace", "environment.txt", 1),
    ("fsync", "metrics.json.partial", 1),
    ("replace", "metrics.json", 1),
    ("fsync", "best.partial", 2),  # at the second epoch
    ("replace", "best.ckpt", 1),
    ("fsync", "last.partial", 1),
    ("replace", "previous.ckpt", 1),
    ("replace", "last.ckpt", 1),
    ("replace", "last.ckpt", 2),
    ("fsync", "metrics.json.partial", 2),  # after training
    ("replace", "metrics.json", 2),
    ("replace", "metrics.json", 3),
]
"""Function of `os`, file, and the call of the function on the file before which a run is killed."""

KILLS = 10


@pytest.fixture
def launched(compose_launch, tmp_path):
    """The name of a run → its `Launch`."""

    def compose_it(name):
        short = ("trainer.max_epochs=8", "+optimizer.momentum=0.9", "+data.shuffle=true")
        return compose_launch(*short, f"log_dir={tmp_path}/{name}")

    return compose_it


@pytest.fixture
def folder_of(tmp_path):
    """The name of a run → its folder, once it has a config."""

    def find(name):
        path = next((tmp_path / name / "runs").glob("*/config.yaml"), None)
        return path and path.parent

    return find


def test_a_run_killed_at_every_write_resumes_to_the_same_bits(
    launched, folder_of, compose_launch, tmp_path
):
    start(launched("whole")).join()
    launch = launched("killed")
    for boundary in BOUNDARIES:
        process = start(launch, tmp_path, *boundary)
        process.join()
        assert process.exitcode == -signal.SIGKILL, boundary
        launch = compose_launch(quote(f"resume={folder_of('killed')}"))
    process = start(launch)
    process.join()
    assert process.exitcode == 0
    assert_same_bits(folder_of("killed"), folder_of("whole"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(5))
def test_a_run_killed_at_random_moments_resumes_to_the_same_bits(
    seed, launched, folder_of, compose_launch
):
    dice = random.Random(seed)
    process = start(launched("whole"))
    while not folder_of("whole"):
        time.sleep(0.001)
    begun = time.monotonic()
    process.join()
    seconds = time.monotonic() - begun

    kills = trials = 0
    while kills < KILLS:
        trials += 1
        name = f"trial_{trials}"
        process = start(launched(name))
        for attempt in range(3):
            while not folder_of(name):
                time.sleep(0.001)
            begun = time.monotonic()
            process.join(dice.uniform(0, seconds))
            if process.exitcode is not None:
                if attempt == 0:  # the very first run may have been slower
                    seconds = min(seconds, time.monotonic() - begun)
                break
            process.kill()
            process.join()
            kills += 1
            process = start(compose_launch(quote(f"resume={folder_of(name)}")))
        process.join()
        assert process.exitcode == 0
        assert_same_bits(folder_of(name), folder_of("whole"))
    print(f"{kills} kills in {trials} runs")
