"""The study of a search: Optuna's record of its trials, which several processes share."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from workbench.config.launch import Trial
from workbench.config.search import make, optuna
from workbench.errors import ConfigError, one_line
from workbench.project import Config


def open_study(search: Config) -> Any:
    """The study of that name, made if it is not there.

    Args:
        search: `hydra.sweeper`, resolved.

    Raises:
        ConfigError: if it has another direction, or its storage cannot be opened.
    """
    pruner = make(search, "pruner")
    try:
        study = optuna().create_study(
            study_name=search["study_name"],
            storage=_storage(search["storage"]),
            direction=search["direction"],
            pruner=pruner,
            load_if_exists=True,
        )
    except Exception as error:  # of the data base's own kinds
        raise ConfigError(
            f"hydra.sweeper.storage={search['storage']}: {one_line(error)}"
        ) from error
    if (known := study.direction.name.lower()) != search["direction"]:
        raise ConfigError(
            f"hydra.sweeper.direction={search['direction']}: the study {study.study_name} is "
            f"there already, to {known}; take another sweep="
        )
    return study


def sampler_for(search: Config, number: int) -> Any:
    """The sampler that proposes a trial, with a seed of the trial's own.

    So a search that is resumed, or shared by processes, proposes no trial twice, and the same
    trials as one that was never stopped. The scrambled sequences of QMCSampler are one sequence
    only under one seed, which they keep.
    """
    node = search["sampler"]
    if node.get("seed") is None or node.get("scramble"):
        return make(search, "sampler")
    (seed,) = np.random.SeedSequence([node["seed"], number]).generate_state(1)
    return make(search, "sampler", seed=int(seed))


def trial_id(search: Config, number: int) -> int:
    """The storage's name for the trial of that number."""
    storage = _storage(search["storage"])
    study = storage.get_study_id_from_name(search["study_name"])
    return int(storage.get_trial_id_from_study_id_trial_number(study, number))


def note(search: Config, number: int, **attributes: Any) -> None:
    """Keep attributes with a trial that is running."""
    for name, value in attributes.items():
        storage = _storage(search["storage"])
        storage.set_trial_user_attr(trial_id(search, number), name, value)


class RunningTrial:
    """A trial, as the process that trains it sees it."""

    def __init__(self, trial: Trial) -> None:
        self.search, self.number = trial
        self.study = open_study(self.search)
        self._storage = _storage(self.search["storage"])
        self._id = trial_id(self.search, self.number)

    def judge(self, value: float, epoch: int) -> bool:
        """Report an epoch's metric; whether the pruner calls the trial hopeless.

        An epoch that was reported before the run was killed and resumed is not reported again.
        """
        if epoch not in self._storage.get_trial(self._id).intermediate_values:
            self._storage.set_trial_intermediate_value(self._id, epoch, value)
        return bool(self.study.pruner.prune(self.study, self._storage.get_trial(self._id)))

    def tell(self, status: str | None, value: float | None) -> None:
        """Record how the run ended: `completed` with a value, `pruned`, or failed."""
        states = optuna().trial.TrialState
        if self._storage.get_trial(self._id).state.is_finished():
            return
        if status == "pruned":
            self.study.tell(self.number, state=states.PRUNED)
        elif status == "completed" and value is not None:
            self.study.tell(self.number, value)
        else:
            self.study.tell(self.number, state=states.FAIL)


@functools.cache  # a journal is read once, and then what is new in it
def _storage(place: str) -> Any:
    """The storage at an address of a data base, or the journal at a path."""
    storages = optuna().storages
    if "://" in place:
        return storages.RDBStorage(place)
    path = Path(place).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = storages.journal.JournalFileBackend(str(path), lock_obj=_JournalLock(path))
    return storages.JournalStorage(backend)


class _JournalLock:
    """The lock by which one process at a time writes into a journal.

    The system releases it when the process is killed. Half a line, which is what a process leaves
    that was killed as it wrote or found the disk full, would make the journal unreadable.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self._lock = FileLock(journal.with_name(f".{journal.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        with self.journal.open("rb+") as file:
            if file.seek(0, os.SEEK_END) and not _ends_with_a_line(file):
                whole = self.journal.read_bytes().rpartition(b"\n")
                file.truncate(len(whole[0]) + len(whole[1]))
        return True

    def release(self) -> None:
        self._lock.release()


def _ends_with_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read() == b"\n")
