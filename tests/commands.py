"""Command lines and code, as they would be typed, but one after the other in one process."""

import json
import os
import re
import shlex
import shutil

from musigma.paths import PROJECT_ROOT
from warm import python

RUNNER = """
import json, runpy, subprocess, sys
names = {"__name__": "notebook"}
for kind, step in json.loads(sys.argv[1]):
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


SMALL = {
    "train": "trainer=cpu trainer.max_epochs=1 +trainer.limit_train_batches=2 "
    "callbacks.image_panel=null callbacks.latent_panel=null",
    "evaluate": "images=2 samples=25",
    "report": "",
    "predict": "",
    "export": "",
}


SHORT_SEARCH = """
import functools as _functools
import musigma.commands.measure as _measure
_measure.best_elbo = _functools.partial(_measure.best_elbo, steps=20)
"""
"""Code after which scripts search for best posteriors as briefly as tests in `tests/musigma`."""

UNRENDERED = """
import musigma.plots.named as _named
_named.image_files = lambda figure: {"png": b"", "svg": b"<svg></svg>"}
"""
"""Code after which plots are made, and no file of them, which is most of an evaluation."""

PYTEST = ("-m", "pytest", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""For `warm.python`, where Hydra, which is a plugin too, has been imported."""


def script(command):
    """`python scripts/... ...`, or the same without `python`, as a step."""
    return "script", shlex.split(command.removeprefix("python "))


def copy_repository(root):
    """What the scripts need of the repository, in the folder `root`."""
    for folder in ("src", "configs", "scripts"):
        shutil.copytree(PROJECT_ROOT / folder, root / folder)
    return root


def small(command):
    """`python scripts/... ...`, or the same without `python`, on few images, as a step.

    A setting that the command gives is its own; so are all of one that trains nothing anew.
    """
    name = re.search(r"scripts/(\w+)\.py", command)[1]
    given = {setting.partition("=")[0] for setting in command.split()}
    if given & {"resume", "--help", "-sc"}:
        return script(command)
    more = [s for s in SMALL[name].split() if s.partition("=")[0] not in given]
    if name == "train" and " data=" not in command:
        more.append("data.source=sample")
    return script(" ".join([command, *more]))


def run_steps(steps, cwd):
    """What the steps print, run in `cwd` with the package in its `src`.

    A step is `("script", arguments)`, `("shell", line)` or `("code", text)`; all code shares its
    names, as the cells of a notebook do.
    """
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    environment["PYTHONPATH"] = str(cwd / "src")
    done = python("-c", RUNNER, json.dumps(steps), cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
