"""The sweeper of searches: Optuna chooses the settings of each trial."""

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from hydra_plugins.workbench.checked_sweeper import CheckedSweeper

SEARCH = {
    "_target_": "hydra_plugins.workbench.search_sweeper.SearchSweeper",
    "_recursive_": False,  # the sampler and the pruner are checked before they are built
    "sampler": {"_target_": "optuna.samplers.TPESampler", "seed": "${seed}"},
    "pruner": None,
    "direction": "minimize",
    "storage": "${hydra.sweep.dir}/study.journal",
    "study_name": "${sweep}",
    "n_trials": 20,
    "n_jobs": 1,
    "params": {},
}
"""`hydra/sweeper=search`: the arguments of `SearchSweeper`."""

ConfigStore.instance().store(
    group="hydra/sweeper", name="search", node=SEARCH, provider="workbench"
)


class SearchSweeper(CheckedSweeper):
    """Launches trials until the study has `n_trials`.

    Args:
        sampler: an Optuna sampler, which proposes each trial.
        pruner: an Optuna pruner, which stops hopeless trials; None for none.
        direction: `minimize` or `maximize` the job's `optimized_metric`.
        storage: where the study is kept: a file, or the address of a database.
        study_name: the name of the study in the storage.
        n_trials: the number of trials in the study, without those that failed.
        n_jobs: the number of trials that the launcher gets at once.
        params: the settings that a config file varies.
    """

    def __init__(self, params: Any = None, **settings: Any) -> None:
        super().__init__(None, params)

    def sweep(self, arguments: list[str]) -> int:
        """Check examples of the trials, if they are not checked yet, and launch the search.

        Returns:
            The number of trials that failed.
        """
        from workbench.sweeps.search import search_all

        launcher: Any = self.launcher
        if hasattr(launcher, "run_jobs"):
            launcher.launch([], 0)  # says why there can be none, before there is a study
        search = self.checked(arguments).search
        hydra = self.config.hydra
        settings: Any = OmegaConf.to_container(hydra.sweeper, resolve=True)
        return search_all(search, self.launcher, settings, Path(hydra.sweep.dir))
