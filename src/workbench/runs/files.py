"""The small text files of a run folder: writing and reading them."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from workbench.errors import RunError, one_line
from workbench.project import the_project
from workbench.runs.config_file import FAST_LOADER, MOST_BYTES, read_config_file
from workbench.runs.output import replace_file

UNKNOWN = "0.1.0 or older"
"""The version of a run that does not say."""

NEXT_ENVIRONMENT = " in another environment:\n\n"
"""Separates the environments in `environment.txt`."""

METRICS_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("status", "error", "best", "monitor", "data_source", "identity"), str),
    **dict.fromkeys(("metrics", "tracked", "origin"), dict),
    "seconds": (int, float),
    "trial": int,
}
"""The types of entries of `metrics.json`."""

REWRITTEN = (
    *("metrics.json", "failure.txt", "train.log", "hparams.yaml"),
    *(f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")),
)
"""The files that a resumed run replaces or adds to."""

T = TypeVar("T")


class RunFiles:
    """Reads and writes the text files of a run.

    Reading a missing file gives an empty value; reading a damaged one raises a RunError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_config(self, config: dict[str, Any], overrides: list[str]) -> None:
        """Write `overrides.yaml` and `config.yaml`, resolved and plain, with our version."""
        config = {"written_by": the_project().version, **config}
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        self._write("overrides.yaml", yaml.safe_dump(overrides, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """The config of the run."""
        config = read_config_file(self.path / "config.yaml")
        return {key: value for key, value in config.items() if key != "written_by"}

    def written_by(self) -> str:
        """The version of the project that wrote the run."""
        return read_config_file(self.path / "config.yaml").get("written_by", UNKNOWN)

    def read_overrides(self) -> list[str]:
        """The overrides of the command that began the run and of those that resumed it."""
        return self._read("overrides.yaml", _parse_strings, [])

    def write_environment(self, text: str) -> None:
        """Write `environment.txt`, adding to it if the environment differs from the last one."""
        earlier = self.read_environment()
        if not earlier.endswith(text):
            text = f"{earlier}\nresumed{NEXT_ENVIRONMENT}{text}" if earlier else text
            self._write("environment.txt", text)

    def read_environment(self) -> str:
        """The machine, packages and code that the run used."""
        return self._read("environment.txt", str, "")

    def write_metrics(self, **entries: Any) -> None:
        """Set entries of `metrics.json`, or remove those that are None; the others stay.

        Numbers that are not finite are left out.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        metrics = finite({**self.read_metrics(), **entries, "written": now})
        text = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
        try:
            self._write("metrics.json", text)
        except OSError:
            if not self._overwrite("metrics.json", text):
                raise

    def read_metrics(self) -> dict[str, Any]:
        """The entries of `metrics.json`."""
        return self._read("metrics.json", json.loads, {})

    def write_failure(self, traceback: str) -> None:
        """Write `failure.txt`."""
        self._write("failure.txt", traceback)

    def remove_failure(self) -> None:
        """Remove the `failure.txt` of an earlier attempt."""
        (self.path / "failure.txt").unlink(missing_ok=True)

    def check_records(self) -> None:
        """Check the files that a resumed run adds to; a RunError names what is damaged."""
        for name in REWRITTEN:
            if (self.path / name).is_dir():
                raise _damaged(self.path / name, "it is a folder, and a run keeps a file there")
        for name, value in self.read_metrics().items():
            kind = METRICS_TYPES.get(name)
            if kind and not (isinstance(value, kind) and finite(value) is not None):
                raise _damaged(self.path / "metrics.json", f"its {name} is {json.dumps(value)}")
        self.read_overrides()
        self.read_environment()

    def _read(self, name: str, parse: Callable[[str], Any], absent: T) -> T:
        path = self.path / name
        try:
            found = parse(path.read_text("utf-8")) if path.exists() else absent
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise _damaged(path, one_line(error)) from error
        if not isinstance(found, type(absent)):
            raise _damaged(path, f"it holds a {type(found).__name__}")
        return found

    def _write(self, name: str, text: str) -> None:
        replace_file(self.path / name, text.encode())

    def _overwrite(self, name: str, text: str) -> bool:
        """Overwrite a file if the text fits its blocks, as a full disk has no others."""
        path = self.path / name
        if not path.exists() or len(text.encode()) > path.stat().st_blocks * 512:
            return False
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()
        return True


def finite(value: Any) -> Any:
    """A value without None and numbers that are not finite, as JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        parts = {name: finite(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(f"{path} is damaged: {reason}. Remove it and try again.")


def _parse_strings(text: str) -> list[str]:
    """A YAML list of strings."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"it has over {MOST_BYTES:,} bytes")
    found = yaml.load(text, Loader=FAST_LOADER)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("it is not a list of strings")
    return found
