"""Run jobs in processes of their own, and kill them at chosen writes."""

import os
import signal
from pathlib import Path

import torch

from curves import scalars_of
from script_server import server
from workbench.project import hand_over, the_project
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run


def start(launch, *boundary):
    """Start a process that runs a job; with a boundary, it kills itself there.

    Args:
        boundary: a folder, the name of a function of `os`, the name of a file below the folder, and
            at which call of the function on the file the process is killed, before it is done.
    """
    process = server().Process(target=_run, args=(the_project().package, launch, *boundary))
    process.start()
    return process


def _run(package, launch, *boundary):
    hand_over(__import__(package).PROJECT)
    if boundary:
        _kill_at(*boundary)
    run(launch)


def _kill_at(root, operation, name, times):
    original, calls = getattr(os, operation), 0

    def operate(*arguments):
        nonlocal calls
        calls += _file_name(arguments[-1], root) == name
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(os, operation, operate)


def _file_name(place, root):
    """The name of a file below a folder, given by its path or by a descriptor; None for others."""
    if not isinstance(place, int):
        return Path(place).name if Path(place).is_relative_to(root) else None
    opened = os.fstat(place)
    same = (p.name for p in root.rglob("*") if os.path.samestat(p.stat(), opened))
    return next(same, None)


def assert_same_bits(path, whole):
    """Check that the runs in two folders ended with the same weights and curves."""
    found, expected = RunFolder.open(path), RunFolder.open(whole)
    assert found.read_metrics()["status"] == "completed"
    for name in ("last", "best"):
        ours, theirs = (load_checkpoint(folder.checkpoint(name)) for folder in (found, expected))
        assert ours["global_step"] == theirs["global_step"]
        assert ours["state_dict"].keys() == theirs["state_dict"].keys()
        for key, value in theirs["state_dict"].items():
            assert torch.equal(ours["state_dict"][key], value), key
    assert scalars_of(found.path) == scalars_of(expected.path)
