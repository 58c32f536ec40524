"""Hydra's own settings: each is obeyed or refused, and names none but a list of classes."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from workbench.config import hydra_adapter
from workbench.config.problem import Problem
from workbench.config.search import DESCRIBED, SEARCHER
from workbench.config.targets import trusted_packages

_PLUGINS = "hydra_plugins.hydra_"
SWEEPER = "hydra_plugins.workbench.checked_sweeper.CheckedSweeper"
"""The sweeper of grids."""

CLASSES = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra.experimental.callbacks.LogJobReturnCallback",
    f"{_PLUGINS}joblib_launcher.joblib_launcher.JoblibLauncher",
    f"{_PLUGINS}ray_launcher.ray_aws_launcher.RayAWSLauncher",
    f"{_PLUGINS}ray_launcher.ray_launcher.RayLauncher",
    f"{_PLUGINS}submitit_launcher.submitit_launcher.LocalLauncher",
    f"{_PLUGINS}submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.workbench.stacked_launcher.StackedLauncher",
    SEARCHER,
    SWEEPER,
)
"""Targets allowed within Hydra's settings, beside classes of trusted packages."""

NO_LOGGING = {"version": 1, "root": None, "disable_existing_loggers": False}
OWN_LOG = "a run keeps its own log, train.log"

ONLY = {
    "output_subdir": (None, "a run folder has its config.yaml and overrides.yaml already"),
    "job_logging": (NO_LOGGING, OWN_LOG),
    "hydra_logging": (NO_LOGGING, OWN_LOG),
    "verbose": (False, OWN_LOG),
    "job.chdir": (False, "a run stays where it was started; hydra.run.dir says where it writes"),
    "env": ({}, "nothing reads it"),
}
"""Settings that have one value here: that, and the reason."""

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "WANDB_MODE",
)
"""Variables that `hydra.job.env_set` may set; others decide which programs and packages are run."""

WRITTEN_BY_HYDRA = dict.fromkeys(
    (
        "hydra.overrides",
        "hydra.runtime",
        "hydra.job.config_name",
        "hydra.job.id",
        "hydra.job.num",
        "hydra.job.override_dirname",
    ),
    "Hydra writes it",
)
ONLY_SHOWN = dict.fromkeys(
    ("hydra.help", "hydra/help", "hydra.hydra_help", "hydra/hydra_help"), "it is what --help shows"
)
OF_A_SWEEP = dict.fromkeys(
    ("hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper"),
    "it is for a sweep, which -m asks for",
)


def find_refused(script: str, overrides: Sequence[str], *, is_sweep: bool) -> list[Problem]:
    """Typed settings of Hydra's own that no job obeys, whatever their value."""
    refused = WRITTEN_BY_HYDRA | ONLY_SHOWN
    if script != "train":
        refused |= {"hydra.run.": f"scripts/{script}.py has no folder of its own"}
    elif is_sweep:
        refused |= {
            "hydra.run.": "a sweep has hydra.sweep.dir and hydra.sweep.subdir",
            "resume=": "a sweep resumes its own runs when its command is typed again",
            "varied=": "a sweep says itself what it varies",
        }
    if not is_sweep:
        refused |= {"hydra.sweep.": "a single run has hydra.run.dir"}
    problems = find_typed(overrides, refused)
    if is_sweep and "hydra.mode=RUN" in overrides:
        problems.append(Problem("hydra.mode=RUN", ": -m asks for a sweep; take one of them"))
    return problems


def find_typed(overrides: Sequence[str], refused: Mapping[str, str]) -> list[Problem]:
    """The overrides among those that are refused.

    Args:
        overrides: what was typed.
        refused: the beginnings of settings, each with the reason.
    """
    return [
        Problem(override, f": cannot be set here, as {reason}; leave it out")
        for override in overrides
        for start, reason in refused.items()
        if override.lstrip("+~").startswith(start) and not override.endswith("=null")
    ]


def find_problems_of_hydra(script: str, hydra: Mapping[str, Any]) -> Iterator[Problem]:
    """Hydra's settings that neither Hydra nor a run would obey.

    Args:
        script: whose they are: `train` and so on.
        hydra: the settings, with interpolations as they are written.
    """
    sweeper = _sweeper(hydra)
    if sweeper.get("_target_") == SEARCHER:  # which has a check of its own for these
        sweeper = {name: node for name, node in sweeper.items() if name not in DESCRIBED}
    for name, node in {**hydra, "sweeper": sweeper or hydra["sweeper"]}.items():
        if name not in ONLY:
            yield from _unknown_targets(node, f"hydra.{name}")
    job, lightnings = hydra["job"]["name"], f"train_ddp_process_{os.environ.get('LOCAL_RANK')}"
    own = job if job == lightnings else script  # Lightning names the processes that it starts
    only = {**ONLY, "job.name": (own, "the settings name= and sweep= name runs and sweeps")}
    for name, (value, reason) in only.items():
        group, _, setting = name.rpartition(".")
        node = hydra[group] if group else hydra
        if node[setting] != value:
            yield Problem(f"hydra.{name}", f": cannot be set here, as {reason}; leave it out")
    for name in ("launcher", "sweeper"):
        if not (isinstance(hydra[name], Mapping) and "_target_" in hydra[name]):
            yield Problem(f"hydra.{name}", f": is chosen by its file's name: hydra/{name}=...")
    yield from _unknown_variables(hydra["job"]["env_set"])
    if (size := _sweeper(hydra).get("max_batch_size")) is not None and size < 1:
        yield Problem(f"hydra.sweeper.max_batch_size={size}", ": should be 1 or more, or null")
    for place in hydra["searchpath"]:
        if not hydra_adapter.is_place_there(place):
            yield Problem("hydra.searchpath", f": there is no {place}; leave it out")
    for name in hydra["job"]["env_copy"]:
        if name not in os.environ:
            fault = f"={name}: {name} is not set in the environment"
            yield Problem("hydra.job.env_copy", fault)


def _sweeper(hydra: Mapping[str, Any]) -> Mapping[str, Any]:
    return hydra["sweeper"] if isinstance(hydra["sweeper"], Mapping) else {}


def _unknown_variables(names: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        if name not in VARIABLES:
            yield Problem(
                f"hydra.job.env_set.{name}",
                f": may not be set by a config; set it in the shell (here: {', '.join(VARIABLES)})",
            )


def _unknown_targets(node: Any, place: str) -> Iterator[Problem]:
    """Classes that Hydra or logging would build for a config and should not."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        for i, item in enumerate(node):
            yield from _unknown_targets(item, f"{place}[{i}]")
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key not in ("_target_", "()", "class"):
                yield from _unknown_targets(value, f"{place}.{key}")
            elif value not in CLASSES and str(value).partition(".")[0] not in trusted_packages():
                yield Problem(
                    f"{place}.{key}",
                    f"={value}: is not allowed; Hydra's settings may only name its launchers, "
                    "sweepers, samplers and callbacks, and classes of trusted packages",
                )
