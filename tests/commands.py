"""Run scripts, shell lines and code, as a user would type them, in one process."""

import json
import os
import re
import shlex
import shutil

from musigma.paths import PROJECT_ROOT
from script_server import python

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


QUICK_EVALUATION = """
import functools as _functools
import musigma.commands.density as _density
import musigma.plots.named as _named
_density.best_elbo = _functools.partial(_density.best_elbo, steps=20)
_named.image_files = lambda figure: {"png": b"", "svg": b"<svg></svg>"}
"""
"""Code step after which evaluations search briefly for best posteriors, as the fixture
`_short_search` makes them, and make plots but no files of them: that takes most of the time."""

PYTEST = ("-m", "pytest", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Arguments of `script_server.python`: Hydra, a pytest plugin too, is imported there already."""


def script(command):
    """The step that runs a command such as `python scripts/train.py seed=1`."""
    return "script", shlex.split(command.removeprefix("python "))


def copy_repository(root):
    """Copy into the folder `root` what the scripts need of the repository; return `root`."""
    for folder in ("src", "configs", "scripts"):
        shutil.copytree(PROJECT_ROOT / folder, root / folder)
    return root


def small(command):
    """The step that runs a command with the settings of `SMALL` that it does not give itself.

    A command that resumes a run, or only prints, is left as it is.
    """
    name = re.search(r"scripts/(\w+)\.py", command)[1]
    given = {setting.partition("=")[0] for setting in command.split()}
    if given & {"resume", "--help", "-sc"}:
        return script(command)
    added = [s for s in SMALL[name].split() if s.partition("=")[0] not in given]
    if name == "train" and " data=" not in command:
        added.append("data.source=sample")
    return script(" ".join([command, *added]))


def run_steps(steps, cwd):
    """Run the steps in `cwd`, with the package in its `src`; return what they print.

    A step is `("script", arguments)`, `("shell", line)` or `("code", text)`; all code shares one
    namespace, as the cells of a notebook do.
    """
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    environment["PYTHONPATH"] = str(cwd / "src")
    done = python("-c", RUNNER, json.dumps(steps), cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
