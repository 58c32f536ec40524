"""The folder of a run."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from musigma.errors import RunError

LONGEST_NAME = 120


class RunFolder:
    """The files of one run, each with one writer and one reader.

    Args:
        path: the folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunFolder":
        """Make a folder of that name in `parent`, or `name_2` and so on where it is taken.

        `mkdir` decides which of two processes gets a name, so names never collide.

        Raises:
            RunError: if the folder cannot be made.
        """
        name = name.replace("/", "_")[:LONGEST_NAME]
        try:
            parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = parent / (name if number == 1 else f"{name}_{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    number += 1
                    continue
                (path / "checkpoints").mkdir()
                return cls(path)
        except OSError as error:
            raise RunError(
                f"Cannot make a run folder in {parent}: {error}.\n"
                "Choose another place with log_dir=..."
            ) from error

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of a run that exists.

        Raises:
            RunError: if it is not a run folder.
        """
        if not (path / "config.yaml").is_file():
            raise RunError(
                f"{path} is not a run folder: it holds no config.yaml.\n"
                "A run folder is what a training run names at its end, such as logs/runs/..."
            )
        return cls(path)

    def discard(self) -> None:
        """Remove a folder in which nothing has been written yet."""
        (self.path / "checkpoints").rmdir()
        self.path.rmdir()

    def checkpoint(self, name: str) -> Path:
        """`best` or `last`."""
        return self.path / "checkpoints" / f"{name}.ckpt"

    def write_config(self, config: dict[str, Any], overrides: list[str]) -> None:
        """`config.yaml`, resolved and plain, and `overrides.yaml`."""
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        self._write("overrides.yaml", yaml.safe_dump(overrides, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """The config that the run was made with."""
        config: dict[str, Any] = yaml.safe_load((self.path / "config.yaml").read_text("utf-8"))
        return config

    def write_environment(self, text: str) -> None:
        """`environment.txt`."""
        self._write("environment.txt", text)

    def write_metrics(self, **entries: Any) -> None:
        """Set entries of `metrics.json`; the others stay."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        metrics = {**self.read_metrics(), **entries, "written": now}
        self._write("metrics.json", json.dumps(metrics, indent=2) + "\n")

    def write_evaluation(self, metrics: dict[str, Any]) -> None:
        """`evaluation/metrics.json`."""
        (self.path / "evaluation").mkdir(exist_ok=True)
        self._write("evaluation/metrics.json", json.dumps(metrics, indent=2) + "\n")

    def read_metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; nothing where it is not there yet."""
        path = self.path / "metrics.json"
        metrics: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return metrics

    def _write(self, name: str, text: str) -> None:
        """Beside its place first, so that a file of this name is always whole."""
        partial = self.path / f"{name}.partial"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)
