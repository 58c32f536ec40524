"""A disk that is full when a checkpoint is written."""

import sys

import pytest

from small import SMALL
from warm import python
from workbench.runs.resume import newest_checkpoint

pytestmark = pytest.mark.slow


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_checkpoint_that_cannot_be_written_loses_nothing(tmp_path, only_run):
    # The third epoch's checkpoint meets a limit on the size of files, as it would a full disk.
    code = (
        "import resource, sys; sys.argv = sys.argv[1:]\n"
        "from musigma.callbacks import BestAndLast\n"
        "save = BestAndLast.save\n"
        "def limited(self, trainer, name):\n"
        "    if trainer.current_epoch == 2:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "    save(self, trainer, name)\n"
        "BestAndLast.save = limited\n"
        "import runpy; runpy.run_path('scripts/train.py', run_name='__main__')"
    )
    done = python(
        "-c", code, "train.py", *SMALL, "trainer.max_epochs=4", f"log_dir={tmp_path}/logs"
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    folder = only_run()
    assert f"{folder.path} could not be written: " in done.stderr
    assert f"Free some space, then: python scripts/train.py resume={folder.path}" in done.stderr
    metrics = folder.read_metrics()
    assert metrics["status"] == "failed"
    assert "File too large" in metrics["error"]
    assert not list((folder.path / "checkpoints").glob("*.partial"))
    assert newest_checkpoint(folder, lambda *_: None)[1]["epoch"] == 1
    assert "Failed: " in (folder.path / "train.log").read_text()
