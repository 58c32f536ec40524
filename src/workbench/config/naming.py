"""The names of runs, and so of their folders."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workbench.config.identity import identity

LONGEST_NAME = 100
"""The most bytes in the name of a job."""

LONGEST_NUMBER = 8
"""The most characters of a number in a name; longer ones, which a search draws, are rounded."""


def run_name(config: Mapping[str, Any]) -> str:
    """The name of a single run that starts now: the time, its name and its seed."""
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return f"{started}_{config['name']}_seed{config['seed']}"


def name_of_job(config: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """The name of a sweep's job, made of the settings that vary: `model=vae,beta=4,seed=1`.

    Two jobs may have the same name: `job_path` keeps their folders apart.
    """
    varied = config["varied"] or []
    short = dict(zip(varied, short_names(varied), strict=True))
    parts = (override.lstrip("+").partition("=") for override in overrides)
    named = (f"{short[key]}={_rounded(value)}" for key, _, value in parts if key in short)
    name = ",".join(named) or "default"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{cut(name, LONGEST_NAME)}_{identity(config)}"
    return name.replace("/", "_")


def short_names(settings: Sequence[str]) -> list[str]:
    """Shorten `model.objective.beta` to `beta`, unless another setting ends in `beta` too."""
    last = [name.replace("/", ".").rpartition(".")[2] for name in settings]
    return [
        short if last.count(short) == 1 else name
        for name, short in zip(settings, last, strict=True)
    ]


def cut(name: str, most: int) -> str:
    """Cut a name to a number of bytes, in which file systems limit the length of names."""
    return name.encode()[:most].decode(errors="ignore")


def _rounded(value: str) -> str:
    """A long number, as a search draws, to four digits; other values as they are."""
    try:
        return f"{float(value):.4g}" if len(value) > LONGEST_NUMBER else value
    except ValueError:
        return value
