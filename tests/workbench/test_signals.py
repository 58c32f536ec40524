"""A run that a signal stops saves a checkpoint and prints how to resume it."""

import shlex
import signal

import pytest

from script_server import python
from toy import PROJECT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_saves_a_checkpoint_and_the_printed_command_resumes_it(
    number, start_script, only_run
):
    started = start_script("trainer.max_epochs=2000", "name='a=b'")
    started.wait_for("epoch    2/2000")
    started.send_signal(number)
    done = started.finish(60)
    assert done.returncode == 130, done.stderr
    folder = only_run()
    assert folder.read_metrics()["status"] == "interrupted"
    assert folder.checkpoint("last").exists()
    command = shlex.split(
        (done.stdout + done.stderr).split("Resume with: python ")[1].splitlines()[0]
    )
    epochs = (folder.path / "train.log").read_text().count("epoch ") + 2
    done = python(*command, f"trainer.max_epochs={epochs}", cwd=PROJECT.root)
    assert done.returncode == 0, done.stderr
    assert folder.read_metrics()["status"] == "completed"
