"""Run scripts in processes of their own that have everything imported when they start.

Importing torch, Lightning and the rest takes longer than most of what tests ask of a script. So one
server in each pytest process imports them once, and a script is a fork of it, with its own command
line, folder, environment, output, signals and exit status. A fresh interpreter is needed only to
test what a fresh interpreter does (`test_fresh_interpreter.py`).
"""

import atexit
import functools
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


@functools.cache
def server():
    """The multiprocessing context whose processes have everything imported and the data read."""
    context = multiprocessing.get_context("forkserver")
    # `preloaded` is the project's own module, if it has one.
    context.set_forkserver_preload(["preloaded_workbench", "preloaded"])
    paths = [
        str(TESTS),
        str(TESTS / "workbench"),
        str(ROOT / "src"),
        os.environ.get("PYTHONPATH", ""),
    ]
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths))):
        forkserver.ensure_running()
    return context


def start(arguments, names, cwd=ROOT, env=None, second=False):
    """Start `python <arguments>` as a process.

    Args:
        arguments: a script, `-m` with a module or `-c` with code, and what follows.
        names: the files to which its output and its errors are appended.
        second: whether the second process that Lightning starts is a fork, too.
    """
    environment = dict(os.environ if env is None else env)
    process = server().Process(target=_run, args=(arguments, cwd, environment, names, second))
    process.start()
    return process


class Started:
    """A running `python <arguments>`, whose output can be waited for."""

    def __init__(self, *arguments, **options):
        self.arguments = arguments
        self._files = [tempfile.NamedTemporaryFile("r") for _ in range(2)]  # noqa: SIM115
        names = [file.name for file in self._files]
        self.process = start(arguments, names, **options)

    def wait_for(self, words, seconds=120):
        """Wait until the script has printed the words; return all that it has printed."""
        end, printed = time.monotonic() + seconds, ""
        while words not in printed:
            assert self.process.is_alive(), self.finish()
            assert time.monotonic() < end, printed
            time.sleep(0.01)
            printed += self._files[0].read()
        self._files[0].seek(0)
        return printed

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def finish(self, seconds=300):
        """Wait for the end of the script; return what `subprocess.run` would."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # with the other ranks of its run
            raise TimeoutError(self.arguments)
        output, errors = (file.read() for file in self._files)
        for file in self._files:
            file.close()
        return subprocess.CompletedProcess(self.arguments, self.process.exitcode, output, errors)


def python(*arguments, **options):
    """Run `python <arguments>` to its end; return what `subprocess.run` would."""
    return Started(*arguments, **options).finish()


def _run(arguments, cwd, environment, names, second=False):
    os.setsid()
    # A server's processes would start their own, such as loaders' workers, with a new server.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    for number, name in enumerate(names, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    if cwd != ROOT and (source := Path(cwd, "src")).is_dir():
        _forget_this_repository(source)
        given = environment.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [str(source), *filter(None, given)]
    if second:
        arguments = _fork_second(arguments)
    try:
        if arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            exec(arguments[1], {"__name__": "__main__"})
        elif arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            sys.path.insert(0, str(cwd))
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            sys.path.insert(0, str(Path(arguments[0]).parent))
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def _fork_second(arguments):
    """Fork a process that waits until Lightning starts it; return the arguments to run in each."""
    from lightning.pytorch.strategies.launchers import subprocess_script

    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(reading)
        popen = functools.partial(_Second, pid, writing)
        subprocess_script.subprocess = SimpleNamespace(Popen=popen)
        return arguments
    os.close(writing)
    with os.fdopen(reading) as file:
        asked = file.read()
    if not asked:
        sys.exit()
    (_, *arguments), environment, cwd = json.loads(asked)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    return arguments


class _Second:
    """What Lightning uses of the `Popen` of the second process."""

    returncode = None

    def __init__(self, pid, pipe, command, env, cwd):
        self.pid = pid
        with os.fdopen(pipe, "w") as file:
            json.dump((command, env, cwd or os.getcwd()), file)

    def poll(self):
        if self.returncode is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])

    def send_signal(self, number):
        os.kill(self.pid, number)


def _forget_this_repository(source):
    """Unload this repository's modules, for a script of a copy or fork with modules of its own."""
    folders = (source, ROOT / "src", TESTS, TESTS / "workbench")
    own = {path.stem for folder in folders for path in folder.iterdir()}
    for name in list(sys.modules):
        if name.partition(".")[0] in own:
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if not _is_of_this_repository(Path(path))]


def _is_of_this_repository(path):
    return path.is_relative_to(ROOT) and not path.is_relative_to(sys.prefix)
