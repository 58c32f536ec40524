"""Prepare a run: everything that can go wrong before its first step, cheapest first."""

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lightning as L

from workbench.child_processes import folder_to_join
from workbench.config.build import build_callbacks, build_module
from workbench.config.check import check_config
from workbench.config.misfits import find_misfits
from workbench.config.nested import flatten
from workbench.config.places import places_of, remember, unnamed_places
from workbench.config.problem import raise_all
from workbench.errors import RunError
from workbench.module import reports_of
from workbench.processes import Processes, check_same_settings
from workbench.project import Config
from workbench.runs.changes import check_averages, check_changes, check_progress
from workbench.runs.folder import RunFolder
from workbench.runs.restorable import check_restorable
from workbench.runs.resume import find_run_to_resume, newest_checkpoint, with_overrides
from workbench.training.data import prepare_data
from workbench.training.init_from import read_source, with_weights_file
from workbench.training.launch import Launch
from workbench.training.new_folder import new_folder
from workbench.training.rehearsal import check_and_rehearse
from workbench.training.trainer import build_trainer
from workbench.training.transfer import SourceWeights, Transfer, transfer

log = logging.getLogger(__name__)


class PreparedRun(NamedTuple):
    """A run that can start: its config, its folder and its objects.

    Its weights are those of the checkpoint `resume_from`, or new ones with a `transfer`.
    """

    config: Config
    folder: RunFolder
    data: L.LightningDataModule
    module: L.LightningModule
    trainer: L.Trainer
    resume_from: Path | None
    transfer: Transfer | None


class BuiltRun(NamedTuple):
    """The objects of a `PreparedRun` before it has a folder, and the step that it resumes from."""

    data: L.LightningDataModule
    module: L.LightningModule
    resume_from: Path | None
    first_step: int | None
    transfer: Transfer | None


def prepare(launch: Launch, known: RunFolder | None, processes: Processes) -> PreparedRun:
    """Check and build everything that training needs, without changing a run that is resumed.

    Args:
        launch: the job.
        known: its folder, if it has one already.
        processes: those that a launcher has started for the run. Each prepares it, the first makes
            or claims its folder, and if one fails all fail.
    """
    is_resumed = launch.config["resume"] is not None
    joined = folder_to_join()
    is_first = joined is None and processes.rank == 0
    try:
        with processes.failing_together():
            if joined is not None:
                known = RunFolder.open(joined)
                config = known.read_config()
            elif is_resumed:
                known = find_run_to_resume(launch.config["resume"], launch.parent)
                if is_first:
                    known.claim()
                config = _resumed_config(launch, known)
            else:
                config = with_weights_file(launch).config
            if not is_resumed:
                check_config(config)
            earlier = known if known and (is_resumed or known.was_begun()) else None
            source = None if earlier else _source_weights(config)
        data = prepare_data(config, processes)
        with processes.failing_together():
            built = _build(config, data, earlier, source, processes)
        prepared = _place_in_folder(launch, known, config, built, processes)
        if is_first:
            remember(places_of(config).values())
        return prepared
    except BaseException:  # Ctrl-C too
        if is_resumed and known is not None:
            known.release()
        elif launch.is_named and not launch.in_sweep:
            with suppress(OSError):  # it is not empty
                (launch.parent / launch.name).rmdir()  # Hydra has made it
        raise


def _resumed_config(launch: Launch, folder: RunFolder) -> Config:
    """The run's own config with the changes of the command line, all of it checked."""
    old = folder.read_config()
    config = with_overrides(old, launch.overrides)
    check_config(config)
    check_changes(old, config)
    typed = {override.lstrip("+").partition("=")[0] for override in launch.overrides}
    # `init_from` is read again only if the run has saved no weights.
    has_weights = any(folder.path.rglob("*.ckpt"))
    used = {k: v for k, v in config.items() if not (has_weights and k == "init_from")}
    if reason := unnamed_places(used, folder.path, typed):
        raise RunError(reason)
    folder.check_records()
    raise_all(find_misfits(config))
    return config


def _build(
    config: Config,
    data: L.LightningDataModule,
    earlier: RunFolder | None,
    source: SourceWeights | None,
    processes: Processes,
) -> BuiltRun:
    """Build and rehearse a run; `earlier` is its folder if it was begun before."""
    module = build_module(config, data)
    path, first_step, is_trained = None, None, False
    if earlier:
        first_step = 0
        if found := newest_checkpoint(earlier, partial(check_restorable, module=module)):
            path, checkpoint = found
            is_trained = check_progress(checkpoint, config["trainer"])
            check_averages(checkpoint, build_callbacks(config).values())
            first_step = checkpoint["global_step"]
            known = earlier.read_metrics()
            if is_trained and known.get("stacked") and "metrics" not in known:
                first_step = None  # it was not tested yet: loggers have nothing to drop
    plan = None
    if path is None and (source := source or _source_weights(config)):
        plan = transfer(module, source, config.get("init_from_parts"))
        reports_of(module).transferred = plan.names
    check_and_rehearse(config, module, data, processes, is_trained=is_trained)
    return BuiltRun(data, module, path, first_step, plan)


def _place_in_folder(
    launch: Launch,
    known: RunFolder | None,
    config: Config,
    built: BuiltRun,
    processes: Processes,
) -> PreparedRun:
    """Give a run a folder, unless it is `known` already, and a trainer that writes there."""
    data, module, path, first_step, plan = built
    checkpoint = {"resumed from": str(path and path.resolve())}
    settings = processes.gather({**flatten(config), **checkpoint})
    with processes.failing_together():
        check_same_settings(settings)
    folder = known or new_folder(launch, processes)
    try:
        with processes.failing_together():
            trainer = build_trainer(config, folder.path, first_step)
    except BaseException:
        if known is None and processes.rank == 0:
            folder.discard()
        raise
    data.trainer = trainer
    return PreparedRun(config, folder, data, module, trainer, path, plan)


def _source_weights(config: Config) -> SourceWeights | None:
    which = config.get("init_from")
    return read_source(Path(which)) if which else None
