"""Importing this does what takes long in every process that trains on the sample."""

import os
import runpy
import sys

import workbench.training  # noqa: F401
from musigma.data.sample import sample_digits
from musigma.paths import PROJECT_ROOT

sample_digits(train=True)


def train(output, *arguments):
    """Do in this process what `scripts/train.py` does, and append what it says to a file."""
    with open(output, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    script = PROJECT_ROOT / "scripts" / "train.py"
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")
