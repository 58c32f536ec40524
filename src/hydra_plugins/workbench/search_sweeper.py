"""The sweeper of searches: Optuna chooses the settings of each trial."""

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.workbench.checked_sweeper import CheckedSweeper

SEARCH = {
    "_target_": "hydra_plugins.workbench.search_sweeper.SearchSweeper",
    "_recursive_": False,  # what it is given is checked before any of it is built
    "sampler": {"_target_": "optuna.samplers.TPESampler", "seed": "${seed}"},
    "pruner": None,
    "direction": "minimize",
    "storage": "${hydra.sweep.dir}/study.journal",
    "study_name": "${sweep}",
    "n_trials": 20,
    "n_jobs": 1,
    "params": {},
}
"""`hydra/sweeper=search`, which `SearchSweeper` describes."""

ConfigStore.instance().store(
    group="hydra/sweeper", name="search", node=SEARCH, provider="workbench"
)


class SearchSweeper(CheckedSweeper):
    """Launches trials until a study has as many as are wanted.

    Args:
        sampler: of Optuna's, which proposes each trial.
        pruner: of Optuna's, which ends trials that are hopeless; None for none.
        direction: of the job's `optimized_metric`: `minimize` or `maximize`.
        storage: the study's: a file, or the address of a data base.
        study_name: its name there.
        n_trials: in all; those that failed do not count.
        n_jobs: so many trials are given to the launcher at once.
        params: what is varied, as a config file says it.
    """

    def __init__(self, params: Any = None, **settings: Any) -> None:
        super().__init__(None, params)

    def sweep(self, arguments: list[str]) -> int:
        """Check what trials may be, unless that was done, and launch them.

        Args:
            arguments: the overrides of the sweep, without Hydra's own.

        Returns:
            How many trials failed.
        """
        from workbench.config import hydra_adapter
        from workbench.sweeps.search import search_all

        search = self.checked(arguments).search
        hydra = self.config.hydra
        settings = hydra_adapter.sweeper_of(hydra)
        return search_all(search, self.launcher, settings, Path(hydra.sweep.dir))
