"""Prepare a run: everything that can go wrong before its first step, cheapest first."""

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import lightning as L

from workbench.config.blame import blaming
from workbench.config.build import build_callbacks, build_data, build_module
from workbench.config.check import check_config
from workbench.config.identity import flatten
from workbench.config.launch import Launch
from workbench.config.misfits import check_unvalidated, find_misfits
from workbench.config.places import places_of, remember, unnamed_places
from workbench.config.schedule_rules import check_schedule
from workbench.config.trainer_rules import batches_of, check_processes, read_data
from workbench.distributed import Processes, check_same_settings, check_shared, folder_to_join
from workbench.errors import ConfigError, RunError
from workbench.module import reports_of
from workbench.origin import Origin, Taken, read_origin, take, with_origin
from workbench.project import Config, the_project
from workbench.rehearsal import rehearse
from workbench.runs.changes import check_averages, check_changes, check_progress
from workbench.runs.folder import RunFolder
from workbench.runs.restorable import check_restorable
from workbench.runs.resume import amended, find_run_to_resume, newest_checkpoint
from workbench.schedules import length_of
from workbench.trainer import build_trainer

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """A run that can start: its config, its folder, its objects, and where its weights come from.

    Those of a run that is resumed are in the checkpoint, others may be taken of another run.
    """

    config: Config
    folder: RunFolder
    data: L.LightningDataModule
    module: L.LightningModule
    trainer: L.Trainer
    resume_from: Path | None
    taken: Taken | None


class TriedOut(NamedTuple):
    """The objects of a run, as those of `Prepared`, and the step that it is resumed from."""

    data: L.LightningDataModule
    module: L.LightningModule
    resume_from: Path | None
    first_step: int | None
    taken: Taken | None


def prepare(launch: Launch, known: RunFolder | None, processes: Processes) -> Prepared:
    """Check and build everything that training needs; a run that is resumed is left as it was.

    Args:
        launch: the job.
        known: its folder, if it has one already.
        processes: those that a launcher has started for it. Each prepares the run, the first makes
            or claims its folder, and what fails in one fails in all.
    """
    is_resumed = launch.config["resume"] is not None
    joined = folder_to_join()
    is_first = joined is None and processes.rank == 0
    try:
        with processes.failing_together():
            if joined is not None:
                known = RunFolder.open(joined)
            elif is_resumed:
                known = find_run_to_resume(launch.config["resume"], launch.parent)
                if is_first:
                    known.claim()
            if joined is not None and known is not None:
                config = known.read_config()
            elif is_resumed and known is not None:
                config = _resumed_config(launch, known)
            else:
                config = with_origin(launch).config
            if not is_resumed:
                check_config(config)
            begun = known if known and (is_resumed or known.was_begun()) else None
            origin = None if begun else _origin(config)
        data = read_alike(config, processes)
        with processes.failing_together():
            tried = _build(config, data, begun, origin, processes)
        prepared = _place(launch, known, config, tried, processes)
        if is_first:
            remember(places_of(config).values())
        return prepared
    except BaseException:  # a Ctrl-C too
        if is_resumed and known is not None:
            known.release()
        elif launch.is_named and not launch.in_sweep:
            with suppress(OSError):  # Hydra has made it
                (launch.parent / launch.name).rmdir()
        raise


def _resumed_config(launch: Launch, folder: RunFolder) -> Config:
    """The run's own config with the command line's changes, all of it checked."""
    old = folder.read_config()
    config = amended(old, launch.overrides)
    check_changes(old, config)
    check_config(config)
    typed = {override.lstrip("+").partition("=")[0] for override in launch.overrides}
    # The weights that it began with are read again only if it has saved none.
    has_weights = any(folder.path.rglob("*.ckpt"))
    acted_on = {k: v for k, v in config.items() if not (has_weights and k == "init_from")}
    if reason := unnamed_places(acted_on, folder.path, typed):
        raise RunError(reason)
    folder.check_records()
    if problem := next(find_misfits(config), None):
        raise ConfigError(str(problem))
    return config


def read_alike(config: Config, processes: Processes) -> L.LightningDataModule:
    """The data, prepared; what they decide themselves is decided by the first process for all.

    The memory of a node decides whether images are streamed, say. The config has it from then on.
    """
    with processes.failing_together():
        data, decided = _read(config)
    first = processes.gather(decided)[0]
    with processes.failing_together():
        theirs = {name: first.get(name, value) for name, value in decided.items()}
        if theirs != decided:
            told = ", ".join(f"data.{n}={v} (here {decided[n]})" for n, v in theirs.items())
            log.warning("process %d: as the first decides, %s", processes.rank, told)
            config["data"] |= theirs
            data, _ = _read(config)
    return data


def _read(config: Config) -> tuple[L.LightningDataModule, Config]:
    """The data, prepared, and those of their settings that they decided otherwise."""
    L.seed_everything(config["seed"], verbose=False)
    data = build_data(config)
    data.prepare_data()
    found = the_project().found(data)
    decided = {n: v for n, v in found.items() if n in config["data"] and config["data"][n] != v}
    config["data"] |= decided
    return data, decided


def _build(
    config: Config,
    data: L.LightningDataModule,
    begun: RunFolder | None,
    origin: Origin | None,
    processes: Processes,
) -> TriedOut:
    """The objects of a run, tried out; `begun` is the folder of one that was begun before."""
    module = build_module(config, data)
    path, first_step, is_trained = None, None, False
    if begun:
        first_step = 0
        if found := newest_checkpoint(begun, partial(check_restorable, module=module)):
            path, checkpoint = found
            is_trained = check_progress(checkpoint, config["trainer"])
            check_averages(checkpoint, build_callbacks(config).values())
            first_step = checkpoint["global_step"]
            known = begun.read_metrics()
            if is_trained and known.get("stacked") and "metrics" not in known:
                first_step = None  # it was not tested yet: there is nothing to drop
    taken = None
    if path is None and (origin := origin or _origin(config)):
        taken = take(module, origin, config.get("init_from_parts"))
        reports_of(module).taken = taken.names
    try_out(config, module, data, processes, is_trained=is_trained)
    return TriedOut(data, module, path, first_step, taken)


def _place(
    launch: Launch,
    known: RunFolder | None,
    config: Config,
    tried: TriedOut,
    processes: Processes,
) -> Prepared:
    """The run in its folder: a new one, unless it has one already."""
    data, module, path, first_step, taken = tried
    place = {"resumed from": str(path and path.resolve())}
    settings = processes.gather({**flatten(config), **place})
    with processes.failing_together():
        check_same_settings(settings)
    folder = known or _new_folder(launch, processes)
    try:
        with processes.failing_together():
            trainer = build_trainer(config, folder.path, first_step)
    except BaseException:
        if known is None and processes.rank == 0:
            folder.discard()
        raise
    data.trainer = trainer
    return Prepared(config, folder, data, module, trainer, path, taken)


def _origin(config: Config) -> Origin | None:
    which = config.get("init_from")
    return read_origin(Path(which)) if which else None


def try_out(
    config: Config,
    module: L.LightningModule,
    data: L.LightningDataModule,
    processes: Processes,
    *,
    is_trained: bool = False,
) -> None:
    """Check the trainer, and try two steps of the run in a folder that is thrown away.

    A run that is trained already is only tested, and no steps are tried.
    """
    with TemporaryDirectory() as folder:
        with blaming("trainer"):
            trainer = build_trainer(config, Path(folder))
        check_processes(trainer, processes)
        batches = read_data(data, trainer)
        reports = reports_of(module)
        reports.planned = length_of(trainer, batches)
        check_schedule(config, reports.planned)
        if not (trainer.limit_val_batches and batches_of(data.val_dataloader())):
            check_unvalidated(config, reports.monitor)
        if folder_to_join() is None and processes.rank == 0 and not is_trained:
            rehearse(config, module, data, trainer, Path(folder))


def _new_folder(launch: Launch, processes: Processes) -> RunFolder:
    """The folder that the first process makes, once the others see it."""
    made = None
    with processes.failing_together():
        if processes.rank == 0:
            made = _make_folder(launch)
    path = Path(processes.gather(made and str(made.path.absolute()))[0])
    try:
        with processes.failing_together():
            if not made:
                check_shared(path)
    except BaseException:
        if made:
            made.discard()
        raise
    return made or RunFolder(path)


def _make_folder(launch: Launch) -> RunFolder:
    if launch.is_named:
        return RunFolder.claim_new(launch.parent / launch.name)
    folder = RunFolder.create(launch.parent, launch.name)
    folder.claim()
    return folder
