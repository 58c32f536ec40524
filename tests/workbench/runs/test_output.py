"""Results are checked to be writable before they are computed, and written all or none."""

import subprocess
import sys

import pytest

from workbench.errors import RunError
from workbench.runs.folder import RunFolder
from workbench.runs.output import check_writable, output_folder, written_together


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_checking_that_a_place_is_writable_leaves_nothing_behind(tmp_path):
    check_writable([tmp_path / "new" / "deeper" / "page.html", tmp_path / "page.html"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(parents=True), "page.html cannot be written: it is a folder"),
        (lambda path: path.parent.write_text(""), "results cannot be written: it is not a folder"),
        (lambda path: path.parent.symlink_to("nowhere"), "results cannot be written"),
    ],
)
def test_an_unwritable_place_is_reported_with_what_to_do(make, reason, tmp_path):
    path = tmp_path / "results" / "page.html"
    make(path)
    with pytest.raises(RunError, match=rf"{reason}.*\nChoose another place with output=\.\.\."):
        check_writable([path])


def test_a_file_name_that_is_too_long_is_reported_as_unwritable(tmp_path):
    with pytest.raises(RunError, match="too long"):
        check_writable([tmp_path / ("x" * 300)])


def test_results_of_one_run_are_not_written_into_another_runs_folder(tmp_path):
    mine, theirs = RunFolder.create(tmp_path, "mine"), RunFolder.create(tmp_path, "theirs")
    for folder in (mine, theirs):
        folder.write_config({}, [])
    assert output_folder(str(mine.path), mine.path, ["report.html"]) == mine.path
    for place in (theirs.path, theirs.path / "checkpoints", theirs.path / "new" / "deeper"):
        with pytest.raises(RunError, match="theirs is the folder of another run"):
            output_folder(str(place), mine.path, ["report.html"])


def test_files_written_together_appear_in_their_folder(tmp_path):
    place = tmp_path / "made" / "here"
    with written_together(place) as beside:
        (beside / "inside").mkdir()
        (beside / "inside" / "a.txt").write_text("1")
        (beside / "b.txt").write_text("1")
    assert [path.name for path in sorted(_files(place))] == ["b.txt", "a.txt"]


@pytest.mark.parametrize(
    ("failure", "seen"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, RunError)]
)
def test_a_failure_while_writing_leaves_the_earlier_files(failure, seen, tmp_path):
    (tmp_path / "b.txt").write_text("1")

    def write():
        with written_together(tmp_path) as beside:
            (beside / "b.txt").write_text("2")
            raise failure

    def write_anew():
        with written_together(tmp_path / "made" / "anew"):
            raise failure

    with pytest.raises(seen):
        write_anew()
    with pytest.raises(seen):
        write()
    assert {str(name): content for name, content in _files(tmp_path).items()} == {"b.txt": b"1"}


def test_two_writers_of_the_same_files_do_not_mix_them(tmp_path):
    with written_together(tmp_path) as first, written_together(tmp_path) as second:
        for beside in (first, second):
            (beside / "a.txt").write_text(beside.name)
    assert (tmp_path / "a.txt").read_text() == first.name
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_status_of_a_run_is_read_without_writing_to_its_folder(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    assert folder.status({"status": "running"}) == "killed"
    assert not (folder.path / ".lock").exists()
    code = (
        "import sys; from pathlib import Path; from workbench.runs.folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1])); folder.claim(); print('claimed', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "claimed\n"
        time = (folder.path / ".lock").stat().st_mtime_ns
        assert folder.status({"status": "running"}) == "running"
        assert folder.status({}) == "running"
        assert folder.status({"status": "failed"}) == "failed"
        assert (folder.path / ".lock").stat().st_mtime_ns == time
        process.stdin.close()
    assert folder.status({"status": "running"}) == "killed"


def test_an_output_folder_with_a_too_long_name_is_refused(tmp_path):
    with pytest.raises(RunError, match="File name too long"):
        output_folder(str(tmp_path / ("y" * 300)), tmp_path, ["report.html"])
