"""Config files by name, and the folders in which they are looked for."""

import re
from collections.abc import Sequence
from pathlib import Path

from workbench.project import the_project

SEARCHPATH = "hydra.searchpath"


def key_of(override: str) -> str:
    """The key of an override: `++a.b=c` → `a.b`."""
    return override.lstrip("+~").partition("=")[0]


def search_folders(overrides: Sequence[str]) -> list[Path]:
    """The folders in which config files are looked for: the project's, then `hydra.searchpath`."""
    values = [o.partition("=")[2] for o in overrides if key_of(o) == SEARCHPATH]
    added = re.findall(r"file://([^'\",\]]+)", " ".join(values))
    return [the_project().configs, *map(Path, added)]


def find_file(name: str, overrides: Sequence[str]) -> Path:
    """The path of the config file `name`, such as `model/vae`, whether or not it exists."""
    files = [root / f"{name}.yaml" for root in search_folders(overrides)]
    return next((file for file in files if file.is_file()), files[0])


def shorten_path(path: Path | str) -> str:
    """A path for messages, relative to the repository if it lies in it."""
    return str(path).removeprefix(f"{the_project().root}/")
