"""Command lines, run as they would be typed, but one after the other in one process."""

import json
import os
import shlex
import subprocess
import sys

RUNNER = """
import json, runpy, sys
for arguments in json.loads(sys.argv[1]):
    print("$", *arguments, flush=True)
    sys.argv = arguments
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


def run_commands(commands, cwd):
    """What `python scripts/...` and so on print, run in `cwd` with the package in its `src`."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps([shlex.split(command) for command in commands])],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
