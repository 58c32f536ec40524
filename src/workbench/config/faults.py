"""Words for what is wrong with overrides and config files, from the types of exceptions."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from workbench.config import hydra_adapter
from workbench.project import the_project

PLUGINS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
}
"""Configs that Hydra's plugins bring, and the extra that installs each plugin."""

SEARCHPATH = "hydra.searchpath"


def key_of(override: str) -> str:
    """`++a.b=c` → `a.b`."""
    return override.lstrip("+~").partition("=")[0]


def folders(overrides: Sequence[str]) -> list[Path]:
    """The folders in which config files are looked for."""
    typed = [o.partition("=")[2] for o in overrides if key_of(o) == SEARCHPATH]
    places = re.findall(r"file://([^'\",\]]+)", " ".join(typed))
    return [the_project().configs, *map(Path, places)]


def find_file(name: str, overrides: Sequence[str]) -> Path:
    """The config file of that name, such as `model/vae`; it need not be there."""
    files = [root / f"{name}.yaml" for root in folders(overrides)]
    return next((file for file in files if file.is_file()), files[0])


def shortened(path: Path | str) -> str:
    """A path, within the repository from there."""
    return str(path).removeprefix(f"{the_project().root}/")


def several(override: Any) -> str:
    """The fault of several values for one job."""
    hint = "; a list is [a,b], and a text 'a,b'" if hydra_adapter.is_listed(override) else ""
    return f"add -m to run each of these{hint}"


def needs(extra: str) -> str:
    """The fault of a plugin that is not installed."""
    return f"needs what is not installed here: pip install -e '.[{extra}]'"


def unparsed(override: str, error: Exception) -> str:
    """Why an override cannot be read."""
    if "=" not in override:
        return "is no setting: write name=value"
    if " =" in override or "= " in override:
        return "leave out the spaces around the =: write name=value"
    key = key_of(override)
    if not re.fullmatch(r"(?!\d)[\w/$-]+(\.[\w/$-]+)*(@[\w.:-]*)?", key, re.ASCII):
        return f"{key or 'nothing'} is not the name of a setting: write name=value"
    if isinstance(error.__cause__ or error, ValueError):  # of a function's arguments
        return first_line(error.__cause__ or error)
    return "cannot be read: close each bracket and quote, and quote a text that holds such signs"


def reason(error: BaseException) -> str:
    """Why something does not compose, in a line."""
    if isinstance(error, RecursionError):
        return "includes itself in its defaults list"
    # OmegaConf's, of a file with a number or a text; a file that is missing is Hydra's.
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return "is one value, and should hold name: value"
    inner = inner_error(error)
    if isinstance(inner, ConfigKeyError | ConfigAttributeError):
        return "Hydra has no such setting"
    if isinstance(inner, ValidationError) and inner.value is None:
        return "cannot be null; leave it out"
    return first_line(inner or error)


def inner_error(error: BaseException) -> OmegaConfBaseException | None:
    """OmegaConf's error in Hydra's."""
    causes = (error, error.__cause__, error.__context__)
    return next((cause for cause in causes if isinstance(cause, OmegaConfBaseException)), None)


def unreadable(error: yaml.YAMLError | UnicodeDecodeError, roots: list[Path]) -> str:
    """The message that a config file is not YAML, with its name and the line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{shortened(mark.name)}, line {mark.line + 1}: {error.problem}"
    for path in (path for root in roots for path in root.rglob("*.yaml")):
        try:
            path.read_text("utf-8")
        except UnicodeDecodeError as fault:
            return f"{shortened(path)}: is not text in UTF-8: {fault}"
    return f"A config file cannot be read: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
