"""Command lines and code, as they would be typed, but one after the other in one process."""

import json
import os
import shlex
import subprocess
import sys

RUNNER = """
import json, runpy, subprocess, sys
names = {"__name__": "notebook"}
for kind, step in json.load(sys.stdin):
    print("$", step, flush=True)
    if kind == "code":
        exec(step, names)
    elif kind == "shell":
        subprocess.run(step, shell=True, check=True)
    else:
        sys.argv = step
        try:
            runpy.run_path(step[0], run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
"""


def script(command):
    """`python scripts/... ...`, or the same without `python`, as a step."""
    return "script", shlex.split(command.removeprefix("python "))


def run_steps(steps, cwd):
    """What the steps print, run in `cwd` with the package in its `src`.

    A step is `("script", arguments)`, `("shell", line)` or `("code", text)`; all code shares its
    names, as the cells of a notebook do.
    """
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(steps),
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(cwd / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
