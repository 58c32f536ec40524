"""The commands on a sweep's page ask for its jobs."""

import itertools
import os

import pytest

from workbench.runs.folder import RunFolder
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.commands import commands_of

VARIED = ("optimizer.lr", "seed")


def job(parent, *overrides, swept=VARIED):
    folder = RunFolder.create(parent, "job")
    named = [*overrides, "sweep='rates'", f"varied=[{','.join(map(repr, swept))}]"]
    folder.write_config({}, named)
    return SweepRun(folder.path, "completed", settings={"a": 1}, swept=swept)


def test_a_grid_is_one_command(tmp_path):
    runs = [
        job(tmp_path, "model=line", f"optimizer.lr={lr}", f"seed={seed}")
        for lr, seed in itertools.product((0.1, 0.01), (0, 1))
    ]
    (command,) = commands_of(runs)
    assert command == (
        "python scripts/train.py -m model=line optimizer.lr=0.1,0.01 seed=0,1 sweep=rates"
    )


def test_a_shell_reads_the_command_as_it_was_typed(tmp_path):
    runs = [job(tmp_path, "note='a b'", f"seed={seed}", swept=("seed",)) for seed in (0, 1)]
    (command,) = commands_of(runs)
    assert "'note='\"'\"'a b'\"'\"''" in command


def test_two_commands_of_one_sweep_are_two(tmp_path):
    runs = [job(tmp_path, "epochs=1", f"seed={n}", swept=("seed",)) for n in (0, 1)]
    runs += [job(tmp_path, "epochs=2", f"seed={n}", swept=("seed",)) for n in (2, 3)]
    assert commands_of(runs) == [
        "python scripts/train.py -m epochs=1 seed=0,1 sweep=rates",
        "python scripts/train.py -m epochs=2 seed=2,3 sweep=rates",
    ]


@pytest.mark.parametrize("lost", ["overrides", "combination"])
def test_of_what_is_not_a_grid_no_command_is_made_up(tmp_path, lost):
    pairs = [(0.1, 0), (0.2, 1)] if lost == "combination" else [(0.1, 0)]
    runs = [job(tmp_path, f"optimizer.lr={lr}", f"seed={seed}") for lr, seed in pairs]
    if lost == "overrides":
        (runs[0].path / "overrides.yaml").write_text("[")
    assert commands_of(runs) == []


def test_nothing_is_read_of_a_damaged_run(tmp_path):
    run = job(tmp_path, "seed=0", swept=())
    (run.path / "overrides.yaml").unlink()
    os.mkfifo(run.path / "overrides.yaml")  # reading it would never end
    assert commands_of([SweepRun(run.path, "damaged")]) == []
