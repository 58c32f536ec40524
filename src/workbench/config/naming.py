"""The names of runs and sweeps, which are those of their folders."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from workbench.config.identity import identity
from workbench.errors import ConfigError

LONGEST_NAME = 100
"""Bytes of a job's name."""

LONGEST_NUMBER = 8
"""Characters of a number in a name; longer ones, as a search draws, are rounded."""


def run_name(config: Mapping[str, Any]) -> str:
    """The name of a single run that starts now: its time, name and seed."""
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return f"{started}_{config['name']}_seed{config['seed']}"


def sweep_name(cfg: DictConfig, varied: Sequence[str]) -> str:
    """The name of a sweep and of its folder: by default the settings that it varies.

    Raises:
        ConfigError: if it was given a name that is not a folder's.
    """
    try:
        name = cfg.sweep
    except OmegaConfBaseException as error:
        raise ConfigError(f"sweep: {str(error).splitlines()[0]}") from error
    if name is None:
        return cut(",".join(short_names(varied)).replace("/", ".") or "single", 2 * LONGEST_NAME)
    if not isinstance(name, str) or not name.strip() or "/" in name or name in (".", ".."):
        known = Path(cfg.log_dir) / "sweeps"
        raise ConfigError(
            f"sweep={name}: should be the name of a folder in {known}, without a /; to write "
            "elsewhere, set hydra.sweep.dir"
        )
    return name


def name_of_job(config: dict[str, Any], overrides: Sequence[str]) -> str:
    """The readable part of the name of the folder of a job of a sweep."""
    name = job_name(overrides, config["varied"] or [])
    if len(name.encode()) > LONGEST_NAME:
        name = f"{cut(name, LONGEST_NAME)}_{identity(config)}"
    return name.replace("/", "_")


def job_name(overrides: Sequence[str], varied: Sequence[str]) -> str:
    """The name of a job, made of the settings that vary: `model=vae,beta=4,seed=1`.

    Two jobs may share one: `job_path` keeps them apart.

    Args:
        overrides: the job's.
        varied: the names of the settings that the sweep varies.
    """
    short = dict(zip(varied, short_names(varied), strict=True))
    parts = (override.lstrip("+").partition("=") for override in overrides)
    named = (f"{short[key]}={_rounded(value)}" for key, _, value in parts if key in short)
    return ",".join(named) or "default"


def short_names(settings: Sequence[str]) -> list[str]:
    """`model.objective.beta` → `beta`, where no other setting ends so."""
    last = [name.replace("/", ".").rpartition(".")[2] for name in settings]
    return [
        short if last.count(short) == 1 else name
        for name, short in zip(settings, last, strict=True)
    ]


def cut(name: str, most: int) -> str:
    """The beginning of a name, in so many bytes, as file systems count."""
    return name.encode()[:most].decode(errors="ignore")


def _rounded(value: str) -> str:
    """A number that a search drew, to four digits; other values as they are."""
    try:
        return f"{float(value):.4g}" if len(value) > LONGEST_NUMBER else value
    except ValueError:
        return value
