"""A search by Optuna that was killed, or is asked for again, goes on where it was."""

import fcntl
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from workbench.config.faults import key_of


class GoOn(Callback):
    """Makes `n_trials` the finished trials of a study in all, those of earlier commands included.

    A trial that a killed process left unfinished is proposed anew, and its run goes on from its
    last checkpoint. Processes that search side by side leave each other's trials alone.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Put right what the sweeper will find."""
        import optuna
        from optuna.trial import TrialState

        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)  # of the study's database
        sweeper = config.hydra.sweeper
        study = optuna.create_study(
            study_name=sweeper.study_name,
            storage=sweeper.storage,
            direction=sweeper.direction,
            load_if_exists=True,
        )
        # Shared by all who search, until they end: who has it alone may judge unfinished trials.
        self._lock = (folder / ".search").open("w")
        if _alone(self._lock):
            for trial in study.get_trials(states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
                study.enqueue_trial(trial.params)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        done = len(study.get_trials(states=(TrialState.COMPLETE,)))
        with read_write(config.hydra):
            sweeper.n_trials = max(0, sweeper.n_trials - done)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Say what was found."""
        import optuna

        sweeper = config.hydra.sweeper
        best = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage).best_trial
        found = " ".join(f"{key_of(name)}={value}" for name, value in best.params.items())
        print(f"\nbest of {sweeper.study_name}: {best.value:.6g} with {found}")


def _alone(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
