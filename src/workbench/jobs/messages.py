"""Messages about overrides and config files that cannot be parsed or composed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
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

from workbench.errors import ConfigError, first_line
from workbench.jobs import hydra_adapter
from workbench.jobs.locate import key_of, shorten_path

PLUGINS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
}
"""Configs that Hydra's plugins provide, with the extra that installs each plugin."""


def several_values(override: Any) -> str:
    """The message for an override with several values where one job was asked for."""
    hint = "; a list is [a,b], and a text 'a,b'" if hydra_adapter.is_listed(override) else ""
    return f"add -m to run each of these{hint}"


def needs_extra(extra: str) -> str:
    """The message for a plugin or library that is not installed."""
    return f"needs an extra that is not installed: pip install -e '.[{extra}]'"


def syntax_message(override: str, error: Exception) -> str:
    """The reason why Hydra cannot parse an override."""
    if "=" not in override:
        return "is not a setting: write name=value"
    if " =" in override or "= " in override:
        return "leave out the spaces around the =: write name=value"
    key = key_of(override)
    if not re.fullmatch(r"(?!\d)[\w/$-]+(\.[\w/$-]+)*(@[\w.:-]*)?", key, re.ASCII):
        return f"{key or 'nothing'} is not the name of a setting: write name=value"
    if isinstance(error.__cause__ or error, ValueError):  # wrong arguments of a function
        return first_line(error.__cause__ or error)
    return "cannot be read: close each bracket and quote, and quote texts that contain them"


def compose_message(error: BaseException) -> str:
    """The reason why an override or a file does not compose, in one line."""
    if isinstance(error, RecursionError):
        return "includes itself in its defaults list"
    # OmegaConf raises OSError for a file with a bare number or text, Hydra for a missing file.
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return "is a single value, and should hold name: value"
    inner = omegaconf_error(error)
    if isinstance(inner, ConfigKeyError | ConfigAttributeError):
        return "Hydra has no such setting"
    if isinstance(inner, ValidationError) and inner.value is None:
        return "cannot be null; leave it out"
    return first_line(inner or error)


def omegaconf_error(error: BaseException) -> OmegaConfBaseException | None:
    """The error of OmegaConf's that Hydra wrapped; None if there is none."""
    causes = (error, error.__cause__, error.__context__)
    return next((cause for cause in causes if isinstance(cause, OmegaConfBaseException)), None)


def unreadable_file(error: yaml.YAMLError | UnicodeDecodeError, roots: list[Path]) -> str:
    """The message for a config file that is not valid YAML, with its path and line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{shorten_path(mark.name)}, line {mark.line + 1}: {error.problem}"
    for path in (path for root in roots for path in root.rglob("*.yaml")):
        try:
            path.read_text("utf-8")
        except UnicodeDecodeError as decode_error:
            return f"{shorten_path(path)}: is not text in UTF-8: {decode_error}"
    return f"A config file cannot be read: {first_line(error)}"


@contextmanager
def resolving(setting: str = "") -> Iterator[None]:
    """Turn the error of an interpolation that cannot be resolved into a ConfigError.

    It names this setting, or the one that OmegaConf names.
    """
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{setting or error.full_key}: {first_line(error)}") from error
