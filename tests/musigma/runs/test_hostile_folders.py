"""Run folders with contents that no run has written."""

import os
import signal
import zipfile

import numpy as np
import pytest
import torch

from musigma.data.tensor_file import read_arrays
from workbench.config.check import find_problems
from workbench.config.settings import ReportSettings
from workbench.errors import DataError, RunError, note_interrupts, plain_errors
from workbench.ranges import in_our_words
from workbench.runs.changes import check_progress
from workbench.runs.description import describe_run
from workbench.runs.evaluation import finite
from workbench.runs.folder import RunFolder
from workbench.runs.output import written_together
from workbench.runs.weights import is_best_by_metric, load_checkpoint, load_into
from workbench.sweeps.collect import collect
from workbench.sweeps.job import job_path
from workbench.training.launch import Launch

PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")


@PIPES
def test_a_runs_files_are_read_only_if_no_link_or_pipe_is_among_them(run_folder, tmp_path):
    curves = run_folder / "theirs.tfevents.1"
    curves.symlink_to(tmp_path / "elsewhere")
    assert "theirs.tfevents.1 is a link out of" in collect(run_folder.parent)[0].error
    curves.unlink()
    os.mkfifo(curves)
    assert "theirs.tfevents.1 is neither a file nor a folder" in collect(run_folder.parent)[0].error


@PIPES
def test_a_jobs_folder_that_is_not_a_run_folder_is_refused(tmp_path):
    launch = Launch({"seed": 0}, [], tmp_path / "sweep", "job", in_sweep=True)
    place = tmp_path / "sweep" / "job"
    assert job_path(launch) == place  # it does not exist yet
    place.parent.mkdir()
    place.write_text("a file")
    with pytest.raises(RunError, match="job is not a folder: remove it"):
        job_path(launch)
    place.unlink()
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="job is a link out of .*sweep"):
        job_path(launch)
    place.unlink()
    place.mkdir()
    os.mkfifo(place / "metrics.json")
    with pytest.raises(RunError, match=r"metrics\.json is neither a file nor a folder"):
        job_path(launch)
    (place / "metrics.json").unlink()
    (place / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"job holds other files, such as thesis\.tex"):
        job_path(launch)


def test_a_run_is_not_put_into_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="a run needs a folder of its own; name one"):
        RunFolder.claim_new(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    RunFolder.claim_new(tmp_path / "run").release()
    # Again: a process that was killed at once leaves an empty folder.
    RunFolder.claim_new(tmp_path / "run").release()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"seed: {'9' * 5000}\n", "cannot be read as YAML: Exceeds the limit"),
        (f"seed: {'[' * 500}{']' * 500}\n", "some that are over 50 levels deep"),
        (f"seed: {'1' * 2_000_000}\n", "it has over 2,000,000 bytes"),
    ],
)
def test_a_config_that_is_too_large_to_handle_is_refused(text, reason, run_folder):
    (run_folder / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=reason):
        RunFolder.open(run_folder).read_config()


def test_folders_in_place_of_files_are_reported_before_a_run_is_resumed(run_folder):
    folder = RunFolder.open(run_folder)
    (run_folder / "train.log").mkdir()
    with pytest.raises(RunError, match="it is a folder, and a run keeps a file there"):
        folder.check_records()
    (run_folder / ".lock").mkdir()
    with pytest.raises(RunError, match="cannot be written: .*Is a directory"):
        folder.claim()


def test_a_compressed_checkpoint_is_not_read(tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save({"weights": torch.zeros(100_000)}, tmp_path / "stored.ckpt")
    assert set(load_checkpoint(tmp_path / "stored.ckpt")) == {"weights"}
    with (
        zipfile.ZipFile(tmp_path / "stored.ckpt") as stored,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    with pytest.raises(RunError, match="it unpacks to more bytes than it has"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ({"validation": {"loss": 1.0}, "callbacks": {"a": {"best": 1.0}}}, True),
        ({"validation": {"loss": 1.0}, "callbacks": {"a": {"best": None}}}, False),
        ({"validation": {}, "callbacks": {"a": {"best": None}}}, False),
        ({"validation": {"loss": 1.0}, "callbacks": {"a": {"best_model_score": None}}}, False),
        ({"callbacks": {"a": {"best_model_score": 1.0}}}, True),
        ({"callbacks": 5}, True),
    ],
)
def test_weights_that_no_metric_chose_are_called_final_weights(checkpoint, expected, run_folder):
    assert is_best_by_metric(checkpoint) == expected
    (run_folder / "checkpoints").mkdir()
    torch.save({**checkpoint, "epoch": 1, "global_step": 6}, run_folder / "checkpoints/best.ckpt")
    about = describe_run(RunFolder.open(run_folder), {}, "best")
    kind = "best checkpoint" if expected else "final weights"
    assert about.weights() == f"{kind} (epoch 2, step 6)"


def test_a_run_with_unreadable_metrics_has_an_unknown_status(run_folder):
    (run_folder / "metrics.json").write_text("{")
    about = describe_run(RunFolder.open(run_folder), {}, "best")
    assert about.status == "unknown"
    assert [note.partition(":")[0] for note in about.notes] == ["metrics.json cannot be read"]


def test_non_finite_numbers_are_left_out_with_the_reason():
    nan = float("nan")
    found = finite({"a": {"mean": 1.0, "error": nan}, "b": [1.0, nan], "c": None, "d": [[1]]})
    reason = "it is not a finite number"
    left_out = {"a.error": reason, "b": reason}
    assert found == {"a": {"mean": 1.0}, "c": None, "d": [[1]], "left_out": left_out}
    assert finite({"a": 1.0}) == {"a": 1.0}


@PIPES
def test_arrays_of_any_byte_order_are_read_and_other_contents_reported(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, labels=np.arange(3, dtype=">i4"))
    assert read_arrays(path)["labels"].tolist() == [0, 1, 2]
    np.savez(path, labels=np.array(["a"]))
    with pytest.raises(DataError, match="its labels holds <U1, and should hold numbers"):
        read_arrays(path)
    torch.save({"images": torch.zeros(1).expand(10**12)}, tmp_path / "images.pt")
    with pytest.raises(DataError, match="it should hold a dict of dense tensors"):
        read_arrays(tmp_path / "images.pt")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match="it is neither a file nor a folder"):
        read_arrays(tmp_path / "pipe.npz")


@pytest.mark.parametrize(
    ("message", "reworded"),
    [
        ("Input should be a valid integer, got a number with a fractional part", "a whole number"),
        ("Input should be a valid string", "text"),
        ("Input should be a valid boolean", "true or false"),
        ("Input should be greater than or equal to 1", "1 or more"),
        ("Input should be greater than 0", "more than 0"),
        ("Input should be 'best' or 'last'", "'best' or 'last'"),
    ],
)
def test_messages_of_pydantic_are_reworded(message, reworded):
    assert in_our_words(message) == f"should be {reworded}"


def test_empty_text_settings_are_refused():
    config = {"sweep": "", "metric": "", "output": "", "every": None, "log_dir": "logs"}
    problems = list(map(str, find_problems(config, ReportSettings)))
    advice = "is empty; write a value, or leave it out"
    assert problems == [f"{name}='': {advice}" for name in ("sweep", "metric", "output")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_stopped_while_writing_leaves_nothing(number, tmp_path, monkeypatch):
    def write():
        with plain_errors(), written_together(tmp_path / "export") as beside:
            (beside / "config.yaml").write_text("name: x\n")
            signal.raise_signal(number)

    monkeypatch.setattr("workbench.errors._interrupts", [])
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        note_interrupts()
        with pytest.raises(SystemExit, match="130"):
            write()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert not [*tmp_path.iterdir()]


def test_impossible_weights_counts_and_overrides_are_refused(run_folder):
    with pytest.raises(RunError, match="are damaged: 5 is not a plain tensor"):
        load_into(torch.nn.Linear(1, 1), {5: torch.zeros(1)}, run_folder)
    current = {"processed": -3, "completed": 10**9}
    checkpoint = {"loops": {"fit_loop": {"epoch_progress": {"current": current}}}, "global_step": 0}
    with pytest.raises(RunError, match="the run has done 1000000000 epochs already"):
        check_progress(checkpoint, {"max_epochs": 3})
    (run_folder / "overrides.yaml").write_text("- " + "x" * 2_000_000)
    with pytest.raises(RunError, match=r"overrides\.yaml is damaged: it has over 2,000,000 bytes"):
        RunFolder.open(run_folder).read_overrides()
