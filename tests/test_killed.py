"""Killed at any moment, a run can go on, and ends where it would have ended."""

import random
import time

import pytest
import torch

from curves import scalars_of
from musigma.loading import load_checkpoint
from workbench.config.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.training import run

pytestmark = pytest.mark.slow

SHORT = [
    "model=vae",
    "scheduler=cosine",
    "trainer.max_epochs=8",
    "trainer.limit_train_batches=3",
    "callbacks.image_panel=null",
]
KILLS = 50


def _start(processes, launch):
    process = processes.Process(target=run, args=(launch,))
    process.start()
    return process


def test_killed_run_resumes_to_the_same_bits(processes, compose_launch, compose_small, tmp_path):
    dice = random.Random(0)

    def launched(name, *overrides):
        return compose_small(*SHORT, f"log_dir={tmp_path}/{name}", *overrides)

    def folder_of(name):
        return next((tmp_path / name / "runs").glob("*/config.yaml"), None)

    process = _start(processes, launched("whole"))
    while not folder_of("whole"):
        time.sleep(0.001)
    begun = time.monotonic()
    process.join()
    seconds = time.monotonic() - begun
    whole = RunFolder.open(folder_of("whole").parent)
    expected = {name: load_checkpoint(whole.checkpoint(name)) for name in ("last", "best")}
    curves = scalars_of(whole.path)

    kills = trials = 0
    while kills < KILLS:
        trials += 1
        name = f"trial_{trials}"
        process = _start(processes, launched(name))
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
            path = folder_of(name).parent
            resumed = compose_launch(quote(f"resume={path}"))
            process = _start(processes, resumed)
        process.join()
        assert process.exitcode == 0
        folder = RunFolder.open(folder_of(name).parent)
        assert folder.read_metrics()["status"] == "completed"
        for checkpoint, state in expected.items():
            found = load_checkpoint(folder.checkpoint(checkpoint))
            for key, value in state["state_dict"].items():
                assert torch.equal(found["state_dict"][key], value)
            assert found["global_step"] == state["global_step"]
        assert scalars_of(folder.path) == curves
    print(f"{kills} kills in {trials} runs")
