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

NOT_SAID = "."
"""`hydra.run.dir` and `hydra.sweep.subdir` in `configs/hydra/default.yaml`: a run names itself."""


class Launch(NamedTuple):
    """One job, as plain values.

    Args:
        config: the resolved config.
        overrides: this job's overrides, as typed or as the sweep chose them.
        parent: the folder that the run's folder goes into.
        name: the readable part of the run folder's name.
        in_sweep: whether it is one of many.
        is_named: whether the user said what the folder is called, with Hydra's own settings.
    """

    config: dict[str, Any]
    overrides: list[str]
    parent: Path
    name: str
    in_sweep: bool = False
    is_named: bool = False


def read_launch(cfg: DictConfig) -> Launch:
    """The job that `HydraConfig` is set to.

    Raises:
        ConfigError: if a value is missing, an interpolation leads nowhere, or a folder is
            named that a run or sweep cannot have.
    """
    try:
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    hydra = HydraConfig.get()
    overrides = [override.removeprefix("++") for override in hydra.overrides.task]
    if hydra.mode == RunMode.MULTIRUN:
        return _job_of_sweep(config, overrides, Path(hydra.sweep.dir), hydra.sweep.subdir)
    if not hydra.run.dir:
        raise ConfigError("hydra.run.dir: is empty; name a folder, or leave it out")
    if hydra.run.dir != NOT_SAID:
        folder = Path(hydra.run.dir).absolute()
        return Launch(config, overrides, folder.parent, folder.name, is_named=True)
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    name = f"{started}_{config['name']}_seed{config['seed']}"
    return Launch(config, overrides, Path(config["log_dir"]) / "runs", name)


def _job_of_sweep(
    config: dict[str, Any], overrides: list[str], folder: Path, subdir: str
) -> Launch:
    known = Path(config["log_dir"]) / "sweeps"
    if folder == known / config["sweep"] and not _is_within(folder, known):
        raise ConfigError(
            f"sweep={config['sweep']}: is the name of a folder in {known}; to write elsewhere, "
            "set hydra.sweep.dir"
        )
    if "/" in subdir:
        raise ConfigError(f"hydra.sweep.subdir={subdir}: the name of a run's folder holds no /")
    if subdir != NOT_SAID:
        return Launch(config, overrides, folder, subdir, in_sweep=True, is_named=True)
    name = job_name(overrides, config["varied"] or [])
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}_{identity(config)}"
    return Launch(config, overrides, folder, name.replace("/", "_"), in_sweep=True)


def _is_within(folder: Path, parent: Path) -> bool:
    return parent.resolve() in folder.resolve().parents


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
