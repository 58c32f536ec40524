"""A job as it is launched: its config, and the folder of its run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.config import hydra_adapter
from workbench.config.naming import name_of_job, run_name
from workbench.config.search import SEARCHER
from workbench.errors import ConfigError

LONGEST_PART = 255
"""Bytes of a name that a file system takes."""

NOT_SAID = "."
"""`hydra.run.dir` and `hydra.sweep.subdir` in `configs/hydra/default.yaml`: a run names itself."""


class Trial(NamedTuple):
    """A trial of a search: the settings of its sweeper, and its number in the study."""

    search: dict[str, Any]
    number: int


class Launch(NamedTuple):
    """One job, as plain values.

    Args:
        config: the resolved config.
        overrides: this job's overrides, as typed or as the sweep chose them.
        parent: the folder that the run's folder goes into.
        name: the readable part of the run folder's name.
        in_sweep: whether it is one of many.
        is_named: whether the user said what the folder is called, with Hydra's own settings.
        trial: of a search, which it is.
    """

    config: dict[str, Any]
    overrides: list[str]
    parent: Path
    name: str
    in_sweep: bool = False
    is_named: bool = False
    trial: Trial | None = None


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
    return launch_of(config, HydraConfig.get())


def launch_of(config: dict[str, Any], hydra: Any) -> Launch:
    """A job, from its resolved config and Hydra's settings for it.

    Raises:
        ConfigError: if a folder is named that a run or sweep cannot have.
    """
    overrides = [override.removeprefix("++") for override in hydra.overrides.task]
    if hydra_adapter.is_sweep(hydra):
        return _job_of_sweep(config, overrides, hydra)
    chosen = _place(hydra, "run.dir")
    if chosen != NOT_SAID:
        folder = check_place(f"hydra.run.dir={chosen}", Path(chosen).absolute())
        return Launch(config, overrides, folder.parent, folder.name, is_named=True)
    parent = check_place(f"log_dir={config['log_dir']}", Path(config["log_dir"]) / "runs")
    return Launch(config, overrides, parent, run_name(config))


def _place(hydra: Any, setting: str) -> str:
    """One of Hydra's own settings that name a folder."""
    try:
        place = OmegaConf.select(hydra, setting)
    except OmegaConfBaseException as error:
        raise ConfigError(f"hydra.{setting}: {str(error).splitlines()[0]}") from error
    if not place.strip():
        raise ConfigError(f"hydra.{setting}: is empty; name a folder, or leave it out")
    return str(place)


def check_place(setting: str, folder: Path) -> Path:
    """The folder, if it is one or can be made.

    Args:
        setting: what named it.
        folder: it need not be there.

    Raises:
        ConfigError: if a file is in its way, or its name is too long.
    """
    if any(len(part.encode()) > LONGEST_PART for part in folder.parts):
        raise ConfigError(f"{setting}: is too long for the name of a folder; take a shorter one")
    above = (folder.absolute(), *folder.absolute().parents)
    there = next(path for path in above if path.exists())
    if not there.is_dir():
        raise ConfigError(f"{setting}: {there} is a file; name another folder")
    return folder


def _job_of_sweep(config: dict[str, Any], overrides: list[str], hydra: Any) -> Launch:
    folder, subdir = Path(_place(hydra, "sweep.dir")), _place(hydra, "sweep.subdir")
    is_default = folder == Path(config["log_dir"]) / "sweeps" / config["sweep"]
    said = f"sweep={config['sweep']}" if is_default else f"hydra.sweep.dir={folder}"
    check_place(said, folder)
    trial = None
    if hydra.sweeper.get("_target_") == SEARCHER:
        trial = Trial(hydra_adapter.sweeper_of(hydra), hydra.job.num)
    if "/" in subdir or subdir == "..":
        raise ConfigError(f"hydra.sweep.subdir={subdir}: the name of a run's folder holds no /")
    if subdir != NOT_SAID:
        check_place(f"hydra.sweep.subdir={subdir}", folder / subdir)
        return Launch(config, overrides, folder, subdir, True, True, trial)
    name = name_of_job(config, overrides)
    return Launch(config, overrides, folder, name, in_sweep=True, trial=trial)


def check_folders(jobs: Sequence[Launch], subdir: str, *, is_search: bool) -> None:
    """Check that each job of a sweep has a folder of its own.

    Args:
        jobs: all of them, or an example of those that a search will choose.
        subdir: `hydra.sweep.subdir`, as it is written.
        is_search: whether they are an example.

    Raises:
        ConfigError: if `hydra.sweep.subdir` names the same folder for two.
    """
    named = [job.name for job in jobs if job.is_named]
    if len(set(named)) < len(named) or (is_search and named and "${hydra." not in subdir):
        raise ConfigError(
            f"hydra.sweep.subdir={subdir}: would be the folder of several jobs; write "
            "'hydra.sweep.subdir=${hydra.job.num}', or leave it out"
        )
