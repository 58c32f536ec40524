"""A job from Python, without a command line: its checked config, and the objects of that."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L

from workbench.config import hydra_adapter
from workbench.config.build import build_data, build_module, compared_settings
from workbench.config.check import check_config
from workbench.config.compose import choose_none
from workbench.config.identity import changes_metrics
from workbench.config.jobs import Checks, raise_all
from workbench.config.naming import run_name
from workbench.config.quoting import quote
from workbench.config.resolvers import register_resolvers
from workbench.console import set_up_logging
from workbench.errors import ConfigError
from workbench.project import Config, the_project
from workbench.runs.folder import RunFolder
from workbench.trainer import build_trainer


class Built(NamedTuple):
    """The objects of a run: `trainer.fit(module, data)` trains.

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


class Changed(NamedTuple):
    """A setting of a run that is not the default, all as text; `–` where one has none."""

    name: str
    value: str
    default: str


def compose(overrides: Sequence[str] = ()) -> Config:
    """The config of `scripts/train.py` with overrides, resolved and checked as it would be there.

    Args:
        overrides: as one types them, such as `["seed=1", "trainer.max_epochs=3"]`.

    Raises:
        ConfigError: lists everything that is wrong, each fault with what it came from.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"compose takes a list of overrides: compose([{overrides!r}])")
    register_resolvers()
    texts = [*filter(None, map(choose_none, map(quote, overrides)))]
    with hydra_adapter.opened(the_project().configs, "train"):
        checked = Checks("train", "train").check(texts)
    raise_all(checked.problems)
    if checked.launch is None:
        raise ConfigError("resume: is for the command line; Trainer.fit takes ckpt_path=...")
    return checked.launch.config


def build(config: Config, folder: str | Path | None = None) -> Built:
    """The objects of a config, which may have been changed since it was composed.

    What they log is printed from now on, as on the command line.

    Args:
        config: of `compose`.
        folder: a new run folder; by default one in `log_dir`, as on the command line.

    Raises:
        ConfigError: if something is wrong with it.
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
    return Built(module, data, trainer, run.path)


def changed_settings(config: Config, defaults: Config) -> list[Changed]:
    """The settings of a run that are not those of `scripts/train.py` without overrides.

    Args:
        config: of the run.
        defaults: what `compose` gives without overrides.
    """
    mine, default = compared_settings(config), compared_settings(defaults)
    return [
        Changed(name, _text(mine.get(name)), _text(default.get(name)))
        for name in dict.fromkeys([*mine, *default])
        if changes_metrics(name) and mine.get(name) != default.get(name)
    ]


def _text(value: object) -> str:
    return "–" if value is None else str(value)
