"""One job of a sweep: done once, resumed where it stopped, and no trouble to the others."""

import logging
import traceback
from pathlib import Path
from typing import Any

from workbench.callbacks.pruning import Judge
from workbench.config.identity import identity
from workbench.config.launch import Launch
from workbench.console import set_up_logging
from workbench.errors import RunError
from workbench.init_from import with_weights_file
from workbench.runs.contents import check_own
from workbench.runs.folder import ClaimedError, RunFolder
from workbench.sweeps.gpus import take_gpu
from workbench.training import optimized_value, run

log = logging.getLogger(__name__)


def run_job(launch: Launch) -> float | None:
    """Do a job, or resume it, unless it is done; return its `optimized_metric`.

    A job that fails leaves its traceback in `failure.txt` and returns nothing; one that another
    process is doing is left to that and returns nothing. A trial of a search tells its study how it
    ended; it waits for another trial of the same settings, as both have one run.

    Raises:
        RunError: if its folder cannot be written.
    """
    set_up_logging()
    take_one_gpu(launch)
    launch = with_weights_file(launch)
    trial = _trial_of(launch)
    folder = RunFolder.at(job_path(launch))
    try:
        folder.claim(-1) if trial else folder.claim()
    except ClaimedError:
        log.info("%s   another process is doing it", launch.name)
        return None
    value = _run_in(folder, launch, trial.judge if trial else None)
    if trial:
        trial.tell(folder.read_metrics().get("status"), value)
    return value


def take_one_gpu(launch: Launch) -> None:
    """Restrict this process to one GPU of several, if the job takes one."""
    trainer = launch.config["trainer"]
    if trainer.get("devices") == 1 and trainer.get("accelerator") != "cpu":
        take_gpu(Path(launch.config["log_dir"]) / ".gpus")


def begin(folder: RunFolder, launch: Launch, trial: int | None = None) -> None:
    """Note in its folder, which is claimed, that a job is being done."""
    folder.remove_failure()
    folder.write_config(launch.config, launch.overrides)
    mine = identity(launch.config)
    folder.write_metrics(status="running", error=None, identity=mine, trial=trial)


def _trial_of(launch: Launch) -> Any:
    """The trial of a search that a job is, if it is one; Optuna is imported for no other."""
    if launch.trial is None:
        return None
    from workbench.sweeps.study import RunningTrial

    return RunningTrial(launch.trial)


def _run_in(folder: RunFolder, launch: Launch, judge: Judge | None = None) -> float | None:
    number = launch.trial.number if launch.trial else None
    done = ("completed", "pruned") if launch.trial else ("completed",)
    try:
        known = folder.read_metrics()
        if known.get("status") in done:
            log.info("%s   is done already", launch.name)
            return optimized_value(
                launch.config["optimized_metric"], known["metrics"], known["monitor"]
            )
        log.info("\njob         %s", launch.name)
        begin(folder, launch, number)
        return run(launch, folder, judge)
    except KeyboardInterrupt:  # before its first step
        folder.write_metrics(status="interrupted")
        if not folder.was_begun():
            folder.discard()
        raise
    except Exception as error:
        try:
            folder.write_failure(traceback.format_exc())
            folder.write_metrics(status="failed", error=f"{type(error).__name__}: {error}")
        except OSError as fault:  # a full disk, on which the next job would fail too
            raise RunError(
                f"{folder.path} could not be written: {fault}\n"
                "What was whole there still is. Free some space; the same command resumes it."
            ) from error
        log.error("%s   failed: %s", launch.name, error)
        return None
    finally:
        folder.release()


def job_path(launch: Launch) -> Path:
    """The folder of a job of a sweep; a job of that name with other settings has its own.

    Raises:
        RunError: if what is there is not a run folder, or leads out of the sweep.
    """
    path = launch.parent / launch.name
    mine = identity(launch.config)
    check_own(path, launch.parent)
    known = RunFolder(path).read_metrics().get("identity", mine)
    if known != mine:
        path = path.with_name(f"{path.name}_{mine}")
        check_own(path, launch.parent)
    return path
