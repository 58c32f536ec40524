"""A search: Optuna chooses the settings of one job after another; a launcher runs the jobs."""

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

from workbench.errors import ConfigError
from workbench.jobs.search import Search, optuna
from workbench.project import Config
from workbench.sweeps.scales import describe_differences
from workbench.sweeps.study import BETTER, SCALE, open_study, sampler_for, set_attribute
from workbench.text import counted, wrapped

SEARCHER = "searcher"
"""The attribute of a trial with the name of the process that chose it."""

LOCKS = ".search"
"""The folder, inside the sweep's, with the locks of the processes that search."""


def search_all(search: Search, launcher: Any, settings: Config, folder: Path) -> int:
    """Launch trials until the study is complete; return how many trials of this process failed.

    Several processes may search at once: they share the trials, and none is done twice. Trials
    that a killed process left running are launched again, which resumes their runs. The settings
    are those of `hydra.sweeper`, resolved.

    Raises:
        ConfigError: if the study belongs to another search, or goes in the wrong direction.
    """
    study = open_study(settings)
    _check_space(study, search.space)
    launched: list[int] = []
    with _searching(folder) as (choosing, name):
        missing = _show_start(study, settings, folder)
        while True:
            _check_direction(study)
            with choosing:
                trials = _next_trials(study, search, settings, folder, missing - len(launched))
                for trial in trials:
                    set_attribute(settings, trial.number, SEARCHER, name)
            if not trials:
                break
            launched += [trial.number for trial in trials]
            for batch in _consecutive(trials):
                jobs = [search.arguments_of(trial.params) for trial in batch]
                # A job has the number of its trial.
                for result in launcher.launch(jobs, initial_job_idx=batch[0].number):
                    _ = result.return_value  # raises the job's exception
    return _show_end(study, launched)


def _next_trials(
    study: Any, search: Search, settings: Config, folder: Path, most: int
) -> list[Any]:
    """At most `most` trials to launch together: abandoned ones first, then new ones."""
    state = optuna().trial.TrialState.RUNNING
    trials = study.get_trials(deepcopy=False)
    running = [trial for trial in trials if trial.state == state]
    most = min(settings["n_jobs"], most)
    chosen = [t.number for t in running if _is_abandoned(folder, t.user_attrs.get(SEARCHER))][:most]
    missing = settings["n_trials"] - _count_finished(study) - len(running)
    for number in range(len(trials), len(trials) + min(most - len(chosen), missing)):
        study.sampler = sampler_for(settings, number)
        chosen.append(study.ask(search.space).number)
    trials = study.get_trials(deepcopy=False)
    return [trials[number] for number in sorted(chosen)]


def _count_finished(study: Any) -> int:
    """The number of trials that were completed or pruned."""
    states = optuna().trial.TrialState
    return len(study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))


def _consecutive(trials: Sequence[Any]) -> Iterator[list[Any]]:
    """Split trials into runs of consecutive numbers: 1, 2, 5 → [1, 2], [5]."""
    for _, pairs in itertools.groupby(enumerate(trials), lambda pair: pair[1].number - pair[0]):
        yield [trial for _, trial in pairs]


@contextmanager
def _searching(folder: Path) -> Iterator[tuple[FileLock, str]]:
    """The lock under which trials are chosen, and the name of this process.

    The process also holds a lock of that name, by which others see that it is alive: the system
    releases it if the process is killed.
    """
    locks = folder / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    name = f"{platform.node()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    with FileLock(locks / name):
        yield FileLock(locks / "choosing"), name
    (locks / name).unlink(missing_ok=True)


def _is_abandoned(folder: Path, searcher: str | None) -> bool:
    """True if the process that chose a trial has ended."""
    if searcher is None:  # it was killed before it set the attribute
        return True
    lock = FileLock(folder / LOCKS / searcher)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


def _check_space(study: Any, space: dict[str, Any]) -> None:
    """Raise a ConfigError if earlier trials searched other values of a setting."""
    check = optuna().distributions.check_distribution_compatibility
    for trial in study.get_trials(deepcopy=False):
        for name in trial.distributions.keys() & space.keys():
            try:
                check(trial.distributions[name], space[name])
            except ValueError as error:
                raise ConfigError(
                    f"{name}: the study {study.study_name} already has trials that searched other "
                    "values; list the same values as before, or set another sweep="
                ) from error


def _check_direction(study: Any) -> None:
    wrong = {"minimize": "higher", "maximize": "lower"}[study.direction.name.lower()]
    if any(t.user_attrs.get(BETTER) == wrong for t in study.get_trials(deepcopy=False)):
        other = {"higher": "maximize", "lower": "minimize"}[wrong]
        raise ConfigError(
            f"hydra.sweeper.direction={study.direction.name.lower()}: a {wrong} optimized_metric "
            f"is better; set hydra.sweeper.direction={other} and another sweep="
        )


def _show_start(study: Any, settings: Config, folder: Path) -> int:
    """Print how many trials are done; return how many are missing."""
    done, total = _count_finished(study), settings["n_trials"]
    print(f"search      {folder}\n{counted(total, 'trial'):<12}{done} done", flush=True)
    return max(0, total - done)


def _show_end(study: Any, launched: Sequence[int]) -> int:
    """Print the best trial; return how many of the launched trials failed."""
    trials = study.get_trials(deepcopy=False)
    counts = Counter(trial.state.name.lower() for trial in trials)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"\n{counted(len(trials), 'trial')}: {states}")
    if counts["complete"]:
        best = study.best_trial
        settings = " ".join(f"{name}={value}" for name, value in best.params.items())
        print(f"best of {study.study_name}: {best.value:.6g} with {settings}")
    scales = {tuple(t.user_attrs[SCALE]): None for t in trials if SCALE in t.user_attrs}
    if len(scales) > 1:
        first, second = describe_differences([*scales])[:2]
        text = f"The values of these trials do not compare: {first}; {second}. Choose "
        print(wrapped(f"{text}an optimized_metric that all share, and another sweep=."))
    failed = [n for n in launched if trials[n].state == optuna().trial.TrialState.FAIL]
    if failed:
        print(f"{counted(len(failed), 'trial')} failed; the same command replaces failed trials.")
    return len(failed)
