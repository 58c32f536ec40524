"""A search: Optuna chooses the settings of one job after another, given to a launcher."""

import itertools
import os
import platform
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from workbench.config.search import Search, optuna
from workbench.errors import ConfigError
from workbench.project import Config
from workbench.sweeps.study import note, open_study, sampler_for

SEARCHER = "searcher"
"""The attribute of a trial that names the process which chose it."""

LOCKS = ".search"
"""The folder, in that of a sweep, of the locks of processes that search there."""


def search_all(search: Search, launcher: Any, settings: Config, folder: Path) -> int:
    """Launch trials until the study has as many as are wanted; how many of these failed.

    A trial that a killed process left is taken up again, and its run is resumed. Processes that
    search side by side share the trials; none is done twice.

    Args:
        search: what the trials have in common.
        launcher: Hydra's.
        settings: of the sweeper, resolved.
        folder: of the sweep.

    Raises:
        ConfigError: if the study is one of another search.
    """
    study = open_study(settings)
    _check_space(study, search.space)
    mine: list[int] = []
    with _searching(folder) as (choosing, name):
        tries = _show_start(study, settings, folder)
        while True:
            with choosing:
                trials = _next_trials(study, search, settings, folder, tries - len(mine))
                for trial in trials:
                    note(settings, trial.number, **{SEARCHER: name})
            if not trials:
                break
            mine += [trial.number for trial in trials]
            for batch in _consecutive(trials):
                jobs = [search.arguments_of(trial.params) for trial in batch]
                # The number of a job is that of its trial.
                for done in launcher.launch(jobs, initial_job_idx=batch[0].number):
                    _ = done.return_value  # raises what the job raised
    return _show_end(study, mine)


def _next_trials(
    study: Any, search: Search, settings: Config, folder: Path, tries: int
) -> list[Any]:
    """The trials that are next: those that nobody is at any more, then new ones."""
    running = optuna().trial.TrialState.RUNNING
    trials = study.get_trials(deepcopy=False)
    begun = [trial for trial in trials if trial.state == running]
    most = min(settings["n_jobs"], tries)
    found = [t.number for t in begun if _is_left(folder, t.user_attrs.get(SEARCHER))][:most]
    missing = settings["n_trials"] - _count_finished(study) - len(begun)
    for number in range(len(trials), len(trials) + min(most - len(found), missing)):
        study.sampler = sampler_for(settings, number)
        found.append(study.ask(search.space).number)
    trials = study.get_trials(deepcopy=False)
    return [trials[number] for number in sorted(found)]


def _count_finished(study: Any) -> int:
    states = optuna().trial.TrialState
    return len(study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))


def _consecutive(trials: Sequence[Any]) -> Iterator[list[Any]]:
    """Trials 1, 2 and 5 → trials 1 and 2, and trial 5."""
    for _, pairs in itertools.groupby(enumerate(trials), lambda pair: pair[1].number - pair[0]):
        yield [trial for _, trial in pairs]


@contextmanager
def _searching(folder: Path) -> Iterator[tuple[FileLock, str]]:
    """The lock under which trials are chosen, and the name of this process's own lock.

    The own lock says to others that this process is there, until it ends, however it does.
    """
    locks = folder / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    name = f"{platform.node()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    with FileLock(locks / name):
        yield FileLock(locks / "choosing"), name
    (locks / name).unlink(missing_ok=True)


def _is_left(folder: Path, searcher: str | None) -> bool:
    """Whether the process that chose a trial is no more."""
    if searcher is None:  # it was killed before it could say so
        return True
    lock = FileLock(folder / LOCKS / searcher)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


def _check_space(study: Any, space: dict[str, Any]) -> None:
    check = optuna().distributions.check_distribution_compatibility
    for trial in study.get_trials(deepcopy=False):
        for name in trial.distributions.keys() & space.keys():
            try:
                check(trial.distributions[name], space[name])
            except ValueError as error:
                raise ConfigError(
                    f"{name}: the trials of the study {study.study_name} chose of other values; "
                    "list the same ones as then, or take another sweep="
                ) from error


def _show_start(study: Any, settings: Config, folder: Path) -> int:
    """Print how far the study is; how many trials are missing."""
    done, wanted = _count_finished(study), settings["n_trials"]
    print(f"search      {folder}\n{f'{wanted} trials':<12}{done} done", flush=True)
    return max(0, wanted - done)


def _show_end(study: Any, mine: Sequence[int]) -> int:
    """Print what was found; how many of this process's trials failed."""
    trials = study.get_trials(deepcopy=False)
    counts = Counter(trial.state.name.lower() for trial in trials)
    print(f"\n{len(trials)} trials: {', '.join(f'{n} {state}' for state, n in counts.items())}")
    if counts["complete"]:
        best = study.best_trial
        found = " ".join(f"{name}={value}" for name, value in best.params.items())
        print(f"best of {study.study_name}: {best.value:.6g} with {found}")
    failed = [n for n in mine if trials[n].state == optuna().trial.TrialState.FAIL]
    if failed:
        print(f"{len(failed)} trials failed; the same command tries others in their place.")
    return len(failed)
