"""The time and the memory of whole commands."""

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

# A process is charged with the memory of the one that started it, so that one must be small.
STOPWATCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
nowhere = subprocess.DEVNULL
subprocess.run(sys.argv[1:], check=True, stdout=nowhere, stderr=nowhere)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


class EndAtFirstStep(L.Callback):
    """Ends the process after its first training step, of which the rehearsal before it has none."""

    only_shows: ClassVar[bool] = True

    def on_train_batch_end(self, *_: object) -> None:
        """Exit at once; only the time to the first step is measured."""
        os._exit(0)


class Took(NamedTuple):
    """The cost of a command.

    Args:
        seconds: by the clock.
        memory: at its peak, in MiB.
        cpu: seconds of all its threads and processes, which other load moves less.
        size: of what it wrote, in MiB, where that is asked for.
    """

    seconds: float
    memory: float
    cpu: float
    size: float | None = None


def trust_this_package() -> None:
    """Let configs name the classes of this package, here and in the processes that it starts."""
    trusted, path = trusted_variable(), "PYTHONPATH"
    os.environ[trusted] = ",".join([os.environ.get(trusted, ""), __package__ or ""])
    os.environ[path] = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get(path)]))


def time_commands(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Took]]:
    """The cost of each command, `rounds` times each, in turns; the first turn does not count.

    Args:
        commands: Python's arguments by a name; `{turn}` in them is the number of the turn.
        rounds: turns that count.

    Raises:
        CalledProcessError: if a command fails.
    """
    took: dict[str, list[Took]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, arguments in commands.items():
            here = [argument.replace("{turn}", str(turn)) for argument in arguments]
            one = time_command(here)
            if turn > 0:
                took[name].append(one)
    return took


def time_command(arguments: Sequence[str]) -> Took:
    """The cost of `python` with these arguments.

    Raises:
        CalledProcessError: if it fails.
    """
    stopwatch = [sys.executable, "-c", STOPWATCH, sys.executable, *arguments]
    done = subprocess.run(stopwatch, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    seconds, kibibytes, cpu = map(float, done.stdout.split())
    return Took(seconds, kibibytes / 2**10, cpu)
