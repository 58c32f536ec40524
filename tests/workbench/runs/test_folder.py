"""A run folder: names that never collide, files that are always whole."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from workbench.errors import RunError
from workbench.runs.contents import check_own
from workbench.runs.folder import ClaimedError, RunFolder
from workbench.runs.resume import find_run, with_overrides


def test_a_run_that_another_process_begins_meanwhile_is_a_run(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path, "run")
    listdir = os.listdir

    def begun_meanwhile(path):
        folder.write_config({}, [])
        return listdir(path)

    monkeypatch.setattr("workbench.runs.contents.os.listdir", begun_meanwhile)
    check_own(folder.path)


def test_a_claim_waits_for_one_that_only_looks(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    lock = folder.path / ".lock"
    lock.touch()
    fcntl = pytest.importorskip("fcntl")
    with lock.open() as file:  # as `status_of` does
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.1, file.close).start()
        folder.claim()
    folder.release()


def test_a_folder_that_cannot_be_claimed_is_not_said_to_be_at_work(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    folder.claim()
    with pytest.raises(ClaimedError, match="still running"):
        RunFolder.at(folder.path).claim()
    folder.release()
    (folder.path / ".lock").unlink()
    (folder.path / ".lock").mkdir()
    with pytest.raises(RunError, match="cannot be written") as caught:
        RunFolder.at(folder.path).claim()
    assert not isinstance(caught.value, ClaimedError)


def test_the_same_name_a_hundred_times_gives_a_hundred_folders(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path, "run").path, range(100)))
    assert len(set(folders)) == 100
    assert tmp_path / "run" in folders
    assert tmp_path / "run_100" in folders


def test_long_names_and_slashes_make_one_folder(tmp_path):
    path = RunFolder.create(tmp_path, "a/b=" + "x" * 400).path
    assert path.parent == tmp_path
    assert path.name.startswith("a_b=x")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(RunError, match="Cannot make a run folder in .*\n.*log_dir"):
        RunFolder.create(tmp_path / "logs", "run")


def test_config_comes_back_as_it_was(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    config = {"a": {"b": [1, 2.5, None, "β", True]}, "lr": 1e-3}
    folder.write_config(config, ["a.b=[1]"])
    assert RunFolder.open(folder.path).read_config() == config


def test_metrics_are_added_to_and_stay_whole(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    folder.write_metrics(status="running", metrics={"a": 1.5})
    folder.write_metrics(status="completed")
    written = json.loads((folder.path / "metrics.json").read_text())
    assert written["status"] == "completed"
    assert written["metrics"] == {"a": 1.5}
    assert not list(folder.path.glob("*.partial"))


def test_what_is_not_a_run_folder_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder.*config\.yaml"):
        RunFolder.open(tmp_path)


def test_latest_is_the_run_written_last(tmp_path):
    for name in ("b", "a"):
        RunFolder.create(tmp_path, name).write_config({}, [])
    (tmp_path / "b" / "config.yaml").touch()
    assert find_run("latest", tmp_path).path.name == "b"
    with pytest.raises(RunError, match="There is no run in"):
        find_run("latest", tmp_path / "nowhere")


def test_files_that_vanish_while_latest_is_looked_for_do_not_count(tmp_path):
    RunFolder.create(tmp_path, "a").write_config({}, [])
    (tmp_path / "a" / "metrics.json.partial").symlink_to("gone")
    with suppress(RunError):  # of what leads nowhere, and not an error of reading it
        find_run("latest", tmp_path)


def test_single_values_can_be_amended_and_groups_cannot():
    config = {"seed": 0, "trainer": {"max_epochs": 5, "precision": "32-true"}}
    changed = with_overrides(config, ["resume=latest", "trainer.max_epochs=20", "seed=3"])
    assert changed == {"seed": 3, "trainer": {"max_epochs": 20, "precision": "32-true"}}
    for override in ("trainer=cpu", "model=vae", "trainer.epochs=3"):
        with pytest.raises(RunError, match="cannot be changed when a run is resumed"):
            with_overrides(config, [override])
    config["trainer"]["_target_"] = "lightning.pytorch.Trainer"
    changed = with_overrides(config, ["trainer.gradient_clip_val=1"])
    assert changed["trainer"]["gradient_clip_val"] == 1


def test_any_checkpoint_is_found_by_its_name_or_its_file(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path, "run")
    inside = folder.path / "checkpoints"
    (inside / "more").mkdir()
    for name in ("best", "previous", "epoch=3-step=12", "v1.5", "a", "more/a"):
        (inside / f"{name}.ckpt").touch()
    found = {
        "best": "best",
        "last": "last",  # not there, which is said when it is read
        "previous": "previous",
        "epoch=3-step=12": "epoch=3-step=12",
        "epoch=3-step=12.ckpt": "epoch=3-step=12",
        str(inside / "epoch=3-step=12.ckpt"): "epoch=3-step=12",
        "run/checkpoints/v1.5.ckpt": "v1.5",
        "v1.5": "v1.5",
        "a": "a",
        "more/a": "more/a",
    }
    monkeypatch.chdir(tmp_path)
    for asked, name in found.items():
        assert folder.checkpoint(asked) == inside / f"{name}.ckpt"
        assert folder.checkpoint_name(asked) == name
    with pytest.raises(RunError, match="several checkpoints called a.ckpt"):
        folder.checkpoint("a.ckpt")
    (tmp_path / "elsewhere.ckpt").touch()
    (inside / "link.ckpt").symlink_to(tmp_path / "elsewhere.ckpt")
    for name in ("epoch=4", "../../elsewhere", "elsewhere.ckpt", "link", ""):
        with pytest.raises(RunError, match="has no checkpoint .*; it has: a, best, epoch=3"):
            folder.checkpoint(name)
