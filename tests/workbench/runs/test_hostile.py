"""Files in a run folder that would be read without end."""

import os

import pytest

from workbench.errors import RunError
from workbench.runs.curves import read_curves
from workbench.runs.folder import RunFolder
from workbench.sweeps.collect import collect

BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize(
    "name", ["metrics.json", ".lock", "checkpoints/best.ckpt", "events.tfevents"]
)
def test_a_named_pipe_in_a_run_folder_is_reported_and_not_read(name, run_folder):
    (run_folder / name).parent.mkdir(exist_ok=True)
    os.mkfifo(run_folder / name)
    with pytest.raises(RunError, match=f"{name} is neither a file nor a folder: remove it"):
        RunFolder.open(run_folder)
    (run,) = collect(run_folder.parent)
    assert run.status == "damaged"
    assert f"{name} is neither a file" in run.error
    assert read_curves(run_folder) == {}


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]\n"])
def test_a_config_whose_aliases_expand_without_end_is_refused(text, run_folder):
    (run_folder / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=r"is not a run's config: it has over 100,000 entries"):
        RunFolder.open(run_folder).read_config()
    (run,) = collect(run_folder.parent)
    assert run.status == "damaged"
