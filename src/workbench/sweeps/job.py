"""Do one job of a sweep: once, resumed if it was interrupted, without stopping other jobs."""

import logging
import traceback
from pathlib import Path
from typing import Any

from workbench.callbacks.pruning import Judge
from workbench.config.identity import identity
from workbench.console import set_up_logging
from workbench.errors import RunError, described
from workbench.meaning import Meaning, read_meanings
from workbench.runs.contents import check_own
from workbench.runs.folder import ClaimedError, RunFolder
from workbench.sweeps.gpus import take_one_gpu
from workbench.sweeps.study import RunningTrial
from workbench.training.init_from import with_weights_file
from workbench.training.launch import Launch
from workbench.training.run import optimized_value, run

log = logging.getLogger(__name__)


def run_job(launch: Launch) -> float | None:
    """Do or resume a job unless it is done; return its `optimized_metric`.

    Returns None if the job fails, which writes the traceback to `failure.txt`, or if another
    process is doing it. A trial of a search reports its result to the study; it waits for any other
    trial of the same settings, because the two share a run folder.

    Raises:
        RunError: if the run folder cannot be written.
    """
    set_up_logging()
    take_one_gpu(launch.config)
    launch = with_weights_file(launch)
    trial = RunningTrial(launch.trial) if launch.trial else None
    folder = RunFolder.at(job_path(launch))
    try:
        folder.claim(-1) if trial else folder.claim()
    except ClaimedError:
        log.info("%s   another process is doing it", launch.name)
        return None
    value = _run_in(folder, launch, trial.judge if trial else None)
    if trial:
        known = folder.read_metrics()
        trial.tell(known.get("status"), value, _meaning(launch, known))
    return value


def mark_running(folder: RunFolder, launch: Launch, trial: int | None = None) -> None:
    """Write a job's config and the status `running` into its claimed folder."""
    folder.remove_failure()
    folder.write_config(launch.config, launch.overrides)
    of_job = identity(launch.config)
    folder.write_metrics(status="running", error=None, identity=of_job, trial=trial)


def _meaning(launch: Launch, known: dict[str, Any]) -> Meaning | None:
    """The meaning of a job's `optimized_metric`, from its `metrics.json`."""
    if "meanings" not in known:
        return None
    return read_meanings(known["meanings"]).of(
        launch.config["optimized_metric"] or known.get("monitor", "")
    )


def _run_in(folder: RunFolder, launch: Launch, judge: Judge | None) -> float | None:
    """Run a job in its claimed folder, record a failure there, and release the folder."""
    number = launch.trial.number if launch.trial else None
    done = ("completed", "pruned") if launch.trial else ("completed",)
    try:
        record = folder.read_metrics()
        if record.get("status") in done:
            log.info("%s   is done already", launch.name)
            name = launch.config["optimized_metric"]
            return optimized_value(name, record["metrics"], record["monitor"])
        log.info("\njob         %s", launch.name)
        mark_running(folder, launch, number)
        return run(launch, folder, judge)
    except BrokenPipeError:  # the reader of the output has closed it; the next job could not print
        raise
    except KeyboardInterrupt:  # before the first step
        folder.write_metrics(status="interrupted")
        if not folder.was_begun():
            folder.discard()
        raise
    except Exception as error:
        try:
            folder.write_failure(traceback.format_exc())
            folder.write_metrics(status="failed", error=described(error))
        except OSError as fault:  # such as a full disk, on which the next job would fail too
            raise RunError(
                f"{folder.path} could not be written: {fault}\n"
                "Files written before are intact. Free some space; the same command resumes it."
            ) from error
        log.error("%s   failed: %s", launch.name, error)
        return None
    finally:
        folder.release()


def job_path(launch: Launch) -> Path:
    """The run folder of a job; another one if a job with other settings has taken its name.

    Raises:
        RunError: if the path exists and is not a run folder, or leads out of the sweep.
    """
    path = launch.parent / launch.name
    of_job = identity(launch.config)
    check_own(path, launch.parent)
    if RunFolder(path).read_metrics().get("identity", of_job) != of_job:
        path = path.with_name(f"{path.name}_{of_job}")
        check_own(path, launch.parent)
    return path
