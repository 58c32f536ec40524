"""Run folders: names that never collide, claims, checkpoints, and whole files."""

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


def test_a_folder_that_becomes_a_run_while_it_is_checked_passes_the_check(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path, "run")
    listdir = os.listdir

    def listdir_of_a_run_begun_meanwhile(path):
        folder.write_config({}, [])
        return listdir(path)

    monkeypatch.setattr("workbench.runs.contents.os.listdir", listdir_of_a_run_begun_meanwhile)
    check_own(folder.path)


def test_a_claim_waits_for_a_process_that_only_reads_the_status(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    lock = folder.path / ".lock"
    lock.touch()
    fcntl = pytest.importorskip("fcntl")
    with lock.open() as file:  # as `RunFolder.status` does
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.1, file.close).start()
        folder.claim()
    folder.release()


def test_a_lock_that_cannot_be_written_is_not_reported_as_a_running_run(tmp_path):
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


def test_concurrent_runs_of_one_name_get_a_folder_each(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path, "run").path, range(100)))
    assert len(set(folders)) == 100
    assert tmp_path / "run" in folders
    assert tmp_path / "run_100" in folders


def test_a_long_name_with_a_slash_makes_a_single_folder(tmp_path):
    path = RunFolder.create(tmp_path, "a/b=" + "x" * 400).path
    assert path.parent == tmp_path
    assert path.name.startswith("a_b=x")


def test_an_unwritable_log_dir_is_reported(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(RunError, match="Cannot make a run folder in .*\n.*log_dir"):
        RunFolder.create(tmp_path / "logs", "run")


def test_a_config_is_read_back_unchanged(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    config = {"a": {"b": [1, 2.5, None, "β", True]}, "lr": 1e-3}
    folder.write_config(config, ["a.b=[1]"])
    assert RunFolder.open(folder.path).read_config() == config


def test_new_metrics_are_merged_into_the_file(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    folder.write_metrics(status="running", metrics={"a": 1.5})
    folder.write_metrics(status="completed")
    written = json.loads((folder.path / "metrics.json").read_text())
    assert written["status"] == "completed"
    assert written["metrics"] == {"a": 1.5}
    assert not list(folder.path.glob("*.partial"))


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder.*config\.yaml"):
        RunFolder.open(tmp_path)


def test_latest_is_the_most_recently_written_run(tmp_path):
    for name in ("b", "a"):
        RunFolder.create(tmp_path, name).write_config({}, [])
    (tmp_path / "b" / "config.yaml").touch()
    assert find_run("latest", tmp_path).path.name == "b"
    with pytest.raises(RunError, match="There is no run in"):
        find_run("latest", tmp_path / "nowhere")


def test_files_that_vanish_during_the_search_for_latest_are_ignored(tmp_path):
    RunFolder.create(tmp_path, "a").write_config({}, [])
    (tmp_path / "a" / "metrics.json.partial").symlink_to("gone")
    with suppress(RunError):  # a broken link, not an OSError
        find_run("latest", tmp_path)


def test_a_resumed_config_can_change_in_single_values_but_not_in_groups():
    config = {"seed": 0, "trainer": {"max_epochs": 5, "precision": "32-true"}}
    changed = with_overrides(config, ["resume=latest", "trainer.max_epochs=20", "seed=3"])
    assert changed == {"seed": 3, "trainer": {"max_epochs": 20, "precision": "32-true"}}
    for override in ("trainer=cpu", "model=vae", "trainer.epochs=3"):
        with pytest.raises(RunError, match="cannot be changed when a run is resumed"):
            with_overrides(config, [override])
    config["trainer"]["_target_"] = "lightning.pytorch.Trainer"
    changed = with_overrides(config, ["trainer.gradient_clip_val=1"])
    assert changed["trainer"]["gradient_clip_val"] == 1


def test_any_checkpoint_inside_the_run_is_found_by_name_or_path(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path, "run")
    inside = folder.path / "checkpoints"
    (inside / "more").mkdir()
    for name in ("best", "previous", "epoch=3-step=12", "v1.5", "a", "more/a"):
        (inside / f"{name}.ckpt").touch()
    found = {
        "best": "best",
        "last": "last",  # it does not exist, which is an error only when it is read
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
