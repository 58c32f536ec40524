"""Runs from Python instead of the command line: compose a checked config, and build its objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L

from workbench.config.build import build_data, build_module, compared_settings
from workbench.config.check import check_config
from workbench.config.identity import changes_metrics
from workbench.config.naming import run_name
from workbench.config.problem import raise_all
from workbench.console import set_up_logging
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter
from workbench.jobs.checks import Checks
from workbench.jobs.compose import choose_none
from workbench.jobs.quoting import quote
from workbench.project import Config, the_project
from workbench.runs.folder import RunFolder
from workbench.training.trainer import build_trainer


class RunObjects(NamedTuple):
    """The objects of a run, which `trainer.fit(module, data)` trains.

    Args:
        module: a LightningModule.
        data: a LightningDataModule.
        trainer: with the callbacks and loggers of the config.
        folder: the run folder, which the trainer writes into.
    """

    module: L.LightningModule
    data: L.LightningDataModule
    trainer: L.Trainer
    folder: Path


class ChangedSetting(NamedTuple):
    """A setting of a run that differs from the default, as text; `–` for no value."""

    name: str
    value: str
    default: str


def compose(overrides: Sequence[str] = ()) -> Config:
    """The config of `scripts/train.py` with overrides, resolved and checked as on its command line.

    Args:
        overrides: such as `["seed=1", "trainer.max_epochs=3"]`.

    Raises:
        ConfigError: lists all faults, each with the override or file that it came from.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"compose takes a list of overrides: compose([{overrides!r}])")
    texts = [*filter(None, map(choose_none, map(quote, overrides)))]
    with hydra_adapter.opened(the_project().configs, "train"):
        checked = Checks("train", "train").check(texts)
    raise_all(checked.problems)
    if checked.launch is None:
        raise ConfigError("resume: is for the command line; Trainer.fit takes ckpt_path=...")
    return checked.launch.config


def build(config: Config, folder: str | Path | None = None) -> RunObjects:
    """Build the objects of a config, and print log messages from now on as on the command line.

    Args:
        config: from `compose`; it may have been changed since.
        folder: a new run folder; by default one in `log_dir`, as on the command line.

    Raises:
        ConfigError: if a setting is wrong.
        RunError: if the folder holds a run already, or cannot be made.
    """
    set_up_logging()
    check_config(config)
    L.seed_everything(config["seed"], verbose=False)
    data = build_data(config)
    module = build_module(config, data)
    if folder is None:
        run = RunFolder.create(Path(config["log_dir"]) / "runs", run_name(config))
    else:
        run = RunFolder.claim_new(Path(folder))
    try:
        trainer = build_trainer(config, run.path)
        run.write_config(config, [])
    except BaseException:
        run.discard()
        raise
    return RunObjects(module, data, trainer, run.path)


def changed_settings(config: Config, defaults: Config) -> list[ChangedSetting]:
    """The settings that change a run's metrics and differ from those of `compose()`."""
    own, default = compared_settings(config), compared_settings(defaults)
    return [
        ChangedSetting(name, _text(own.get(name)), _text(default.get(name)))
        for name in dict.fromkeys([*own, *default])
        if changes_metrics(name) and own.get(name) != default.get(name)
    ]


def _text(value: object) -> str:
    return "–" if value is None else str(value)
