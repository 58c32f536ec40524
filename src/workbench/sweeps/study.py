"""The study of a search: Optuna's record of its trials, shared by several processes."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from workbench.errors import ConfigError, one_line
from workbench.jobs.search import make, optuna
from workbench.meaning import Meaning
from workbench.project import Config
from workbench.training.launch import Trial

BETTER, SCALE = "better", "scale"
"""The attributes of a trial that hold the `Meaning` of its value."""


def open_study(search: Config) -> Any:
    """Open the study of a search, given by `hydra.sweeper`, or create it.

    Raises:
        ConfigError: if the study has another direction, or its storage cannot be opened.
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
    except Exception as error:  # each kind of database has exceptions of its own
        raise ConfigError(
            f"hydra.sweeper.storage={search['storage']}: {one_line(error)}"
        ) from error
    if (known := study.direction.name.lower()) != search["direction"]:
        raise ConfigError(
            f"hydra.sweeper.direction={search['direction']}: the study {study.study_name} exists "
            f"already, to {known}; set another sweep="
        )
    return study


def sampler_for(search: Config, number: int) -> Any:
    """The sampler that proposes a trial, seeded by the trial's number.

    A search that is resumed or shared by processes thus proposes the same trials as an
    uninterrupted one, and none twice. A scrambled QMCSampler keeps the given seed: its points
    belong to one sequence only if all of them have the same seed.
    """
    node = search["sampler"]
    if node.get("seed") is None or node.get("scramble"):
        return make(search, "sampler")
    (seed,) = np.random.SeedSequence([node["seed"], number]).generate_state(1)
    return make(search, "sampler", seed=int(seed))


def trial_id(search: Config, number: int) -> int:
    """The storage's identifier of the trial with that number."""
    storage = _storage(search["storage"])
    study = storage.get_study_id_from_name(search["study_name"])
    return int(storage.get_trial_id_from_study_id_trial_number(study, number))


def set_attribute(search: Config, number: int, name: str, value: Any) -> None:
    """Set a user attribute of a running trial."""
    _storage(search["storage"]).set_trial_user_attr(trial_id(search, number), name, value)


class RunningTrial:
    """A trial in the process that trains it."""

    def __init__(self, trial: Trial) -> None:
        self.search, self.number = trial
        self.study = open_study(self.search)
        self._storage = _storage(self.search["storage"])
        self._id = trial_id(self.search, self.number)

    def judge(self, value: float, epoch: int) -> bool:
        """Report an epoch's metric; return True if the pruner wants to stop the trial.

        An epoch that was reported before the run was killed is not reported again when it resumes.
        """
        if epoch not in self._storage.get_trial(self._id).intermediate_values:
            self._storage.set_trial_intermediate_value(self._id, epoch, value)
        return bool(self.study.pruner.prune(self.study, self._storage.get_trial(self._id)))

    def tell(self, status: str | None, value: float | None, meaning: Meaning | None = None) -> None:
        """Record how the run ended: `completed` with a value, `pruned`, or failed."""
        states = optuna().trial.TrialState
        if self._storage.get_trial(self._id).state.is_finished():
            return
        if meaning:
            set_attribute(self.search, self.number, BETTER, meaning.better)
            set_attribute(self.search, self.number, SCALE, [*meaning.of])
        if status == "pruned":
            self.study.tell(self.number, state=states.PRUNED)
        elif status == "completed" and value is not None:
            self.study.tell(self.number, value)
        else:
            self.study.tell(self.number, state=states.FAIL)


@functools.cache  # one object reads a journal once, and then only what is new
def _storage(address: str) -> Any:
    """The database at an address such as `sqlite:///x.db`, or the journal at a path."""
    storages = optuna().storages
    if "://" in address:
        return storages.RDBStorage(address)
    path = Path(address).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = storages.journal.JournalFileBackend(str(path), lock_obj=_JournalLock(path))
    return storages.JournalStorage(backend)


class _JournalLock:
    """A lock that lets one process at a time write to a journal.

    The system releases it when the process is killed. Acquiring it removes an incomplete last
    line, left by a process that was killed or found the disk full: it would make the journal
    unreadable.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self._lock = FileLock(journal.with_name(f".{journal.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        with self.journal.open("rb+") as file:
            if file.seek(0, os.SEEK_END) and not _ends_with_a_line(file):
                file.truncate(self.journal.read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


def _ends_with_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read() == b"\n")
