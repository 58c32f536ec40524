"""A full disk while a checkpoint is written."""

import pytest

from script_server import python
from small import SMALL
from workbench.runs.resume import newest_checkpoint

pytestmark = pytest.mark.slow


def test_a_full_disk_keeps_the_last_checkpoint_and_says_how_to_resume(tmp_path, only_run):
    # A limit on file sizes at the third epoch's checkpoint stands for a full disk.
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
