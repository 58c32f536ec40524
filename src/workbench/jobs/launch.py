"""Make the `Launch` of a job, with the name and place of its run folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from workbench.config.naming import name_of_job, run_name
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter
from workbench.jobs.messages import resolving
from workbench.jobs.search import SEARCHER
from workbench.training.launch import Launch, Trial

LONGEST_PART = 255
"""Bytes that file systems allow in the name of a file or folder."""

AUTOMATIC = "."
"""The default of `hydra.run.dir` and `hydra.sweep.subdir`, for which a run names itself."""


def read_launch(cfg: DictConfig) -> Launch:
    """The job that Hydra is running, as given by `HydraConfig`.

    Raises:
        ConfigError: if a value is missing, an interpolation cannot be resolved, or a folder cannot
            be used.
    """
    with resolving():
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    return launch_of(config, HydraConfig.get())


def launch_of(config: dict[str, Any], hydra: Any) -> Launch:
    """A job, from its resolved config and Hydra's settings for it.

    Raises:
        ConfigError: if the folder of the run or the sweep cannot be used.
    """
    overrides = [override.removeprefix("++") for override in hydra.overrides.task]
    if hydra_adapter.is_sweep(hydra):
        return _job_of_sweep(config, overrides, hydra)
    chosen = _folder_setting(hydra, "run.dir")
    if chosen != AUTOMATIC:
        folder = check_folder(f"hydra.run.dir={chosen}", Path(chosen).absolute())
        return Launch(config, overrides, folder.parent, folder.name, is_named=True)
    parent = check_folder(f"log_dir={config['log_dir']}", Path(config["log_dir"]) / "runs")
    return Launch(config, overrides, parent, run_name(config))


def _folder_setting(hydra: Any, setting: str) -> str:
    """The value of one of Hydra's settings that name a folder, resolved."""
    with resolving(f"hydra.{setting}"):
        folder = OmegaConf.select(hydra, setting)
    if not folder.strip():
        raise ConfigError(f"hydra.{setting}: is empty; name a folder, or leave it out")
    return str(folder)


def check_folder(setting: str, folder: Path) -> Path:
    """Return a folder that exists or can be made; `setting` is the override that names it.

    Raises:
        ConfigError: if there is a file in its place or above it, or a name in it is too long.
    """
    if any(len(part.encode()) > LONGEST_PART for part in folder.parts):
        raise ConfigError(f"{setting}: is too long for the name of a folder; choose a shorter one")
    path = folder.absolute()
    existing = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
    if not existing.is_dir():
        raise ConfigError(f"{setting}: {existing} is a file; name another folder")
    return folder


def _job_of_sweep(config: dict[str, Any], overrides: list[str], hydra: Any) -> Launch:
    folder = Path(_folder_setting(hydra, "sweep.dir"))
    subdir = _folder_setting(hydra, "sweep.subdir")
    is_default = folder == Path(config["log_dir"]) / "sweeps" / config["sweep"]
    setting = f"sweep={config['sweep']}" if is_default else f"hydra.sweep.dir={folder}"
    check_folder(setting, folder)
    trial = None
    if hydra.sweeper.get("_target_") == SEARCHER:
        search: Any = OmegaConf.to_container(hydra.sweeper, resolve=True)
        trial = Trial(search, hydra.job.num)
    if "/" in subdir or subdir == "..":
        raise ConfigError(f"hydra.sweep.subdir={subdir}: the name of a run's folder has no /")
    is_named = subdir != AUTOMATIC
    if is_named:
        check_folder(f"hydra.sweep.subdir={subdir}", folder / subdir)
    name = subdir if is_named else name_of_job(config, overrides)
    return Launch(config, overrides, folder, name, True, is_named, trial)


def check_distinct_folders(jobs: Sequence[Launch], subdir: str, *, is_search: bool) -> None:
    """Raise a ConfigError if `hydra.sweep.subdir` names the same folder for several jobs.

    Args:
        jobs: all jobs of a grid, or examples of a search's trials.
        subdir: `hydra.sweep.subdir`, with its interpolations.
        is_search: whether the jobs are examples.
    """
    named = [job.name for job in jobs if job.is_named]
    if len(set(named)) < len(named) or (is_search and named and "${hydra." not in subdir):
        raise ConfigError(
            f"hydra.sweep.subdir={subdir}: would be the folder of several jobs; write "
            "'hydra.sweep.subdir=${hydra.job.num}', or leave it out"
        )
