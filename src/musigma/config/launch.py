"""What a command line asks for, read from Hydra."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musigma.config.identity import identity
from musigma.errors import ConfigError

LONGEST_NAME = 100
LONGEST_NUMBER = 8


class Launch(NamedTuple):
    """One job, as plain values.

    Args:
        config: the resolved config.
        overrides: this job's overrides, as typed or as the sweep chose them.
        parent: the folder that the run's folder goes into.
        name: the readable part of the run folder's name.
        in_sweep: whether it is one of many.
    """

    config: dict[str, Any]
    overrides: list[str]
    parent: Path
    name: str
    in_sweep: bool = False


def quote_path(argument: str) -> str:
    """`resume=a/b=c,d` → `resume='a/b=c,d'`: run folders have names that Hydra reads as grammar."""
    name, _, path = argument.partition("=")
    if name not in ("resume", "run", "sweep") or not path or path[0] in "[\"'":
        return argument
    return "{}='{}'".format(name, path.replace("\\", "\\\\").replace("'", "\\'"))


def read_launch(cfg: DictConfig) -> Launch:
    """The job that `HydraConfig` is set to.

    Raises:
        ConfigError: if a value is missing, or an interpolation leads nowhere.
    """
    try:
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    hydra = HydraConfig.get()
    overrides = [override.removeprefix("++") for override in hydra.overrides.task]
    logs = Path(config["log_dir"])
    if hydra.mode == RunMode.MULTIRUN:
        name = job_name(overrides, config["varied"] or [])
        if len(name) > LONGEST_NAME:
            name = f"{name[:LONGEST_NAME]}_{identity(config)}"
        return Launch(config, overrides, logs / "sweeps" / config["sweep"], name, in_sweep=True)
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    name = f"{started}_{config['name']}_seed{config['seed']}"
    return Launch(config, overrides, logs / "runs", name)


def job_name(overrides: Sequence[str], varied: Sequence[str]) -> str:
    """What is particular about a job: `model=vae,beta=4,seed=1`.

    Two jobs may share one: `job_path` keeps them apart.

    Args:
        overrides: the job's.
        varied: the names of the settings that the sweep varies.
    """
    short = dict(zip(varied, short_names(varied), strict=True))
    parts = (override.lstrip("+").partition("=") for override in overrides)
    named = (f"{short[key]}={_rounded(value)}" for key, _, value in parts if key in short)
    return ",".join(named) or "default"


def _rounded(value: str) -> str:
    """A number that a search drew, to four digits; other values as they are."""
    try:
        return f"{float(value):.4g}" if len(value) > LONGEST_NUMBER else value
    except ValueError:
        return value


def short_names(settings: Sequence[str]) -> list[str]:
    """`model.objective.beta` → `beta`, where no other setting ends so."""
    last = [name.replace("/", ".").rpartition(".")[2] for name in settings]
    return [
        short if last.count(short) == 1 else name
        for name, short in zip(settings, last, strict=True)
    ]
