"""Measure the time and memory of whole commands."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import lightning as L

from musigma.paths import PROJECT_ROOT
from workbench.config.targets import trusted_variable

SCRIPTS = Path(__file__).resolve().parents[1]

# The peak memory of a process includes that of its parent at the fork, so the parent must be small.
STOPWATCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
nowhere = subprocess.DEVNULL
subprocess.run(sys.argv[1:], check=True, stdout=nowhere, stderr=nowhere)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


class EndAtFirstStep(L.Callback):
    """Ends the process after its first training step; the rehearsal does not call it."""

    only_shows: ClassVar[bool] = True

    def on_train_batch_end(self, *_: object) -> None:
        """Exit at once: only the time to the first step is measured."""
        os._exit(0)


class Cost(NamedTuple):
    """The cost of a command.

    Args:
        seconds: wall time.
        memory: peak memory in MiB.
        cpu: CPU seconds of all threads and processes, which depend less on other load.
        size: size of the file that it wrote, in MiB; None if not measured.
    """

    seconds: float
    memory: float
    cpu: float
    size: float | None = None


def trust_this_package() -> None:
    """Let configs name the classes of this package, here and in child processes."""
    trusted, path = trusted_variable(), "PYTHONPATH"
    os.environ[trusted] = ",".join([os.environ.get(trusted, ""), __package__ or ""])
    os.environ[path] = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get(path)]))


def time_commands(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Cost]]:
    """Run commands in turns, and return the costs of each; the first turn is a warm-up.

    Args:
        commands: arguments of Python, by name; `{turn}` in them is replaced by the turn's number.
        rounds: the number of turns after the warm-up.

    Raises:
        CalledProcessError: if a command fails.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, arguments in commands.items():
            cost = time_command([argument.replace("{turn}", str(turn)) for argument in arguments])
            if turn > 0:
                costs[name].append(cost)
    return costs


def time_command(arguments: Sequence[str]) -> Cost:
    """Run `python` with some arguments and return the cost.

    Raises:
        CalledProcessError: if the command fails.
    """
    stopwatch = [sys.executable, "-c", STOPWATCH, sys.executable, *arguments]
    done = subprocess.run(stopwatch, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    seconds, kibibytes, cpu = map(float, done.stdout.split())
    return Cost(seconds, kibibytes / 2**10, cpu)
