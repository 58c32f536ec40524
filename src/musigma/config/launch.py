"""What a command line asks for, read from Hydra."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musigma.errors import ConfigError


class Launch(NamedTuple):
    """One job, as plain values.

    Args:
        config: the resolved config.
        overrides: this job's overrides, as typed or as the sweep chose them.
        parent: the folder that the run's folder goes into.
        name: the readable part of the run folder's name.
    """

    config: dict[str, Any]
    overrides: list[str]
    parent: Path
    name: str


def quote_path(argument: str) -> str:
    """`resume=a/b=c,d` → `resume='a/b=c,d'`: run folders have names that Hydra reads as grammar."""
    name, _, path = argument.partition("=")
    if name not in ("resume", "run") or not path or path[0] in "\"'":
        return argument
    return "{}='{}'".format(name, path.replace("\\", "\\\\").replace("'", "\\'"))


def read_launch(cfg: DictConfig) -> Launch:
    """The job that Hydra is running.

    Raises:
        ConfigError: if a value is missing, or an interpolation leads nowhere.
    """
    try:
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    logs = Path(config["log_dir"])
    if hydra.mode == RunMode.MULTIRUN:
        sweep = Path(hydra.sweep.dir)
        return Launch(config, overrides, sweep, ",".join(_varied(overrides, sweep)) or "default")
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    name = f"{started}_{config['name']}_seed{config['seed']}"
    return Launch(config, overrides, logs / "runs", name)


def _varied(overrides: list[str], sweep: Path) -> list[str]:
    """The overrides of a job that are not the same for the whole sweep."""
    command = yaml.safe_load((sweep / "multirun.yaml").read_text("utf-8"))
    common = command["hydra"]["overrides"]["task"]
    return [override.lstrip("+") for override in overrides if override not in common]
