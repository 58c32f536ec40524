"""Damaged run folders: each command reports the damage and changes nothing in the folder."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from musigma import load_run
from musigma.commands.evaluate import evaluate
from musigma.commands.predict import predict
from workbench.errors import UserError
from workbench.jobs.quoting import quote
from workbench.processes import Processes
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.preparing import prepare

pytestmark = pytest.mark.slow


def _content(folder):
    return {p: p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture
def copies(trained, tmp_path):
    """A function that makes a fresh copy of a finished run."""
    folder = trained("model=vae")

    def copy() -> RunFolder:
        place = tmp_path / "copy"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder.path, place, ignore=shutil.ignore_patterns(".lock"))
        return RunFolder(place)

    return copy


@pytest.fixture
def refuses(compose_launch):
    """A function that checks that a command refuses a run and leaves its folder unchanged."""
    launch = compose_launch("resume=copy")

    def resume(path, ran, overrides):
        typed = [quote(f"resume={path}"), *overrides]
        config = {**launch.config, "resume": path}
        prepare(launch._replace(config=config, overrides=typed), None, Processes())

    options = {"input": "test", "count": 1, "seed": 0, "output": None, "checkpoint": "best"}
    measured = {"checkpoint": "best", "images": 2, "samples": 25, "seed": 0}
    commands = {
        "resume": resume,
        "load_run": lambda path, *_: load_run(path),
        "evaluate": lambda path, ran, _: evaluate([path], ran, **measured),
        "predict": lambda path, ran, _: predict("sample", path, ran, **options),
    }

    def check(command: str, folder: RunFolder, *overrides: str) -> str:
        folder.claim()  # leaves an empty lock file
        folder.release()
        before = _content(folder.path)
        path, ran = str(folder.path), folder.path.parent
        with pytest.raises(UserError) as error:
            commands[command](path, ran, overrides)
        assert _content(folder.path) == before
        text = str(error.value)
        assert len(text.splitlines()) <= 3, text
        return text

    return check


CONFIGS = {
    "a number as model": ({"model": 5}, "model=5"),
    "a text as data": ({"data": "x"}, "data='x'"),
    "no model": ({"model": None}, "model is missing"),
    "no data": ({"data": None}, "data is missing"),
}


def test_every_command_reports_a_wrong_or_missing_config_section(copies, refuses):
    for change, expected in CONFIGS.values():
        for command in ("resume", "load_run", "evaluate", "predict"):
            folder = copies()
            config = {k: v for k, v in {**folder.read_config(), **change}.items() if v is not None}
            (folder.path / "config.yaml").write_text(yaml.safe_dump(config))
            assert expected in refuses(command, folder), (command, expected)


@pytest.mark.parametrize(
    ("section", "value", "expected"),
    [("trainer", [], "trainer=[]"), ("name", "???", "name='???'"), ("seed", None, "seed")],
)
def test_a_config_that_cannot_be_trained_is_not_resumed(section, value, expected, copies, refuses):
    folder = copies()
    config = {**folder.read_config(), section: value}
    (folder.path / "config.yaml").write_text(yaml.safe_dump(config))
    assert expected in refuses("resume", folder)


def test_damaged_records_are_reported_before_anything_is_written(copies, refuses):
    records = [
        ("overrides.yaml", b"a: mapping"),
        ("overrides.yaml", b"[1, 2]"),
        ("overrides.yaml", b"\x00\x01\xff"),
        ("environment.txt", b"\xff\xfe"),
        ("metrics.json", b'{"seconds": "abc"}'),
        ("metrics.json", b'{"seconds": null}'),
        ("metrics.json", b'{"seconds": NaN}'),
        ("metrics.json", b'{"tracked": 5}'),
        ("metrics.json", b"[]"),
    ]
    for name, content in records:
        folder = copies()
        (folder.path / name).write_bytes(content)
        text = refuses("resume", folder)
        assert f"{name} is damaged: " in text, (name, content)
        assert "Remove it and try again." in text


def _without(name):
    return lambda checkpoint: checkpoint.pop(name)


def _with(name, value):
    return lambda checkpoint: checkpoint.update({name: value})


def _in_loops(change):
    return lambda checkpoint: change(checkpoint["loops"]["fit_loop"])


def _not_finite(checkpoint):
    next(iter(checkpoint["state_dict"].values())).fill_(float("nan"))


def _other_moments(checkpoint):
    checkpoint["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(3)


DAMAGE = {
    "loops": _without("loops"),
    "callbacks": _without("callbacks"),
    "state_dict": _without("state_dict"),
    "epoch_means": _without("epoch_means"),
    "no optimizer": _with("optimizer_states", []),
    "two optimizers": _with("optimizer_states", [{}, {}]),
    "an empty optimizer": _with("optimizer_states", [{}]),
    "moments": _other_moments,
    "a scheduler": _with("lr_schedulers", [{}]),
    "epoch": _with("epoch", "3"),
    "global_step": _with("global_step", None),
    "progress": _in_loops(lambda loop: loop.pop("epoch_progress")),
    "a count": _in_loops(lambda loop: loop["epoch_progress"]["current"].update(processed="x")),
    "nan": _not_finite,
    "a list": None,
}


def test_a_damaged_checkpoint_is_skipped_for_the_previous_one_or_reported(
    copies, refuses, compose_launch, caplog
):
    launch = compose_launch("resume=copy")
    for name, damage in DAMAGE.items():
        folder = copies()
        path = folder.checkpoint("last")
        checkpoint = load_checkpoint(path)
        if damage:
            damage(checkpoint)
        torch.save(checkpoint if damage else [1], path)
        config = {**launch.config, "resume": str(folder.path)}
        caplog.clear()
        prepared = prepare(launch._replace(config=config, overrides=[]), None, Processes())
        prepared.folder.release()
        assert prepared.resume_from == folder.checkpoint("previous"), name
        assert "resuming from" in caplog.messages[-1]
        assert "last.ckpt" in caplog.messages[0]
        for other in ("previous", "best"):
            shutil.copy(path, folder.checkpoint(other))
        text = refuses("resume", folder)
        assert "last.ckpt" in text, name


class _Code:
    def __reduce__(self):
        return (print, ("ran",))


def test_every_command_refuses_a_checkpoint_with_code_or_wrong_contents_in_one_line(
    copies, refuses, capsys
):
    for name in ("code", "shapes", "text", "meta", "no weights", "a list"):
        folder = copies()
        for path in (folder.path / "checkpoints").iterdir():
            checkpoint = load_checkpoint(path)
            key, value = next(iter(checkpoint["state_dict"].items()))
            other = {"shapes": torch.zeros(3), "text": "x", "meta": value.to("meta")}
            checkpoint["state_dict"][key] = other.get(name, value)
            if name == "no weights":
                checkpoint.pop("state_dict")
            wrong = {"code": {**checkpoint, "x": _Code()}, "a list": [1]}
            torch.save(wrong.get(name, checkpoint), path)
        for command in ("resume", "load_run", "evaluate", "predict"):
            text = refuses(command, folder)
            assert len(text.splitlines()) == 1, text
            assert "weights_only" not in text
        assert "ran" not in capsys.readouterr().out


def test_an_export_a_file_or_a_folder_of_runs_is_not_resumed(copies, refuses, run_here):
    from musigma.commands.export import export_run

    folder = copies()
    export_run(load_run(folder.path), folder.path / "export")
    assert "is an export" in refuses("resume", RunFolder(folder.path / "export"))
    checkpoint = RunFolder.__new__(RunFolder)
    for name, text in (("checkpoints/last.ckpt", "name its folder"), ("config.yaml", "is a file")):
        checkpoint.path = folder.path / name
        checkpoint.claim = checkpoint.release = lambda: None
        assert text in refuses("resume", checkpoint)
    checkpoint.path = folder.path.parent
    assert "is a folder of runs" in refuses("resume", checkpoint)
