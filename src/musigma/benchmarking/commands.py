"""Commands as a person gives them, timed from Enter."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import lightning as L

from musigma.module import AutoencoderModule
from musigma.paths import PROJECT_ROOT


class EndAtFirstStep(L.Callback):
    """Ends the process after its first training step."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: AutoencoderModule, *_: object
    ) -> None:
        """Without a word: this is a clock's hand, not a run."""
        os._exit(0)


def time_commands(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command, `rounds` times each, in turns; the first turn does not count.

    Args:
        commands: Python's arguments by a name.
        rounds: turns that count.

    Raises:
        CalledProcessError: if a command fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], cwd=PROJECT_ROOT, check=True, capture_output=True
            )
            if turn > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds
