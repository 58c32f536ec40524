"""Prepare the data of a run, alike in all of its processes."""

import logging

import lightning as L

from workbench.config.build import build_data
from workbench.processes import Processes
from workbench.project import Config, the_project

log = logging.getLogger(__name__)


def prepare_data(config: Config, processes: Processes) -> L.LightningDataModule:
    """Build and prepare the data, with the settings that the data of the first process choose.

    For example, the memory of a node decides whether images are streamed. The choices are put into
    the config.
    """
    with processes.failing_together():
        data, choices = _prepare_data_here(config)
    first = processes.gather(choices)[0]
    with processes.failing_together():
        common = {name: first.get(name, value) for name, value in choices.items()}
        if common != choices:
            text = ", ".join(f"data.{n}={v} (here {choices[n]})" for n, v in common.items())
            log.warning("process %d: as the first decides, %s", processes.rank, text)
            config["data"] |= common
            data, _ = _prepare_data_here(config)
    return data


def _prepare_data_here(config: Config) -> tuple[L.LightningDataModule, Config]:
    """The prepared data, and those settings that they have changed."""
    L.seed_everything(config["seed"], verbose=False)
    data = build_data(config)
    data.prepare_data()
    found = the_project().data_facts(data)
    choices = {n: v for n, v in found.items() if n in config["data"] and config["data"][n] != v}
    config["data"] |= choices
    return data, choices
