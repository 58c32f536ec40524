"""The commands on a sweep's page, which train its jobs again."""

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


def test_a_grid_of_jobs_is_one_command(tmp_path):
    runs = [
        job(tmp_path, "model=line", f"optimizer.lr={lr}", f"seed={seed}")
        for lr, seed in itertools.product((0.1, 0.01), (0, 1))
    ]
    (command,) = commands_of(runs)
    assert command == (
        "python scripts/train.py -m model=line optimizer.lr=0.1,0.01 seed=0,1 sweep=rates"
    )


def test_the_command_is_quoted_for_the_shell(tmp_path):
    runs = [job(tmp_path, "note='a b'", f"seed={seed}", swept=("seed",)) for seed in (0, 1)]
    (command,) = commands_of(runs)
    assert "'note='\"'\"'a b'\"'\"''" in command


def test_a_sweep_made_by_two_commands_shows_both(tmp_path):
    runs = [job(tmp_path, "epochs=1", f"seed={n}", swept=("seed",)) for n in (0, 1)]
    runs += [job(tmp_path, "epochs=2", f"seed={n}", swept=("seed",)) for n in (2, 3)]
    assert commands_of(runs) == [
        "python scripts/train.py -m epochs=1 seed=0,1 sweep=rates",
        "python scripts/train.py -m epochs=2 seed=2,3 sweep=rates",
    ]


@pytest.mark.parametrize("lost", ["overrides", "combination"])
def test_jobs_that_do_not_form_a_grid_get_no_command(tmp_path, lost):
    pairs = [(0.1, 0), (0.2, 1)] if lost == "combination" else [(0.1, 0)]
    runs = [job(tmp_path, f"optimizer.lr={lr}", f"seed={seed}") for lr, seed in pairs]
    if lost == "overrides":
        (runs[0].path / "overrides.yaml").write_text("[")
    assert commands_of(runs) == []


def test_the_files_of_a_damaged_run_are_not_read(tmp_path):
    run = job(tmp_path, "seed=0", swept=())
    (run.path / "overrides.yaml").unlink()
    os.mkfifo(run.path / "overrides.yaml")  # reading it would never end
    assert commands_of([SweepRun(run.path, "damaged")]) == []
