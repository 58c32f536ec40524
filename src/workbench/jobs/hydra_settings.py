"""Check Hydra's own settings: each is obeyed or refused, and may only name certain classes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.config.nested import dotted, leaves
from workbench.config.problem import Problem
from workbench.config.targets import trusted_packages
from workbench.jobs import hydra_adapter
from workbench.jobs.search import OPTUNA_OBJECTS, SEARCHER

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
"""Targets allowed in Hydra's settings, besides classes of trusted packages."""

NO_LOGGING = {"version": 1, "root": None, "disable_existing_loggers": False}
OWN_LOG = "a run keeps its own log, train.log"

FIXED = {
    "output_subdir": (None, "a run folder has its config.yaml and overrides.yaml already"),
    "job_logging": (NO_LOGGING, OWN_LOG),
    "hydra_logging": (NO_LOGGING, OWN_LOG),
    "verbose": (False, OWN_LOG),
    "job.chdir": (False, "a run does not change directory; hydra.run.dir says where it writes"),
    "env": ({}, "nothing reads it"),
}
"""Settings that cannot be changed, each with its value and the reason."""

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "WANDB_MODE",
)
"""Variables that `hydra.job.env_set` may set; others could decide which programs are run."""

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
HELP_TEXTS = dict.fromkeys(
    ("hydra.help", "hydra/help", "hydra.hydra_help", "hydra/hydra_help"), "it is what --help shows"
)
SWEEP_ONLY = dict.fromkeys(
    ("hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper"),
    "it is for a sweep, which -m asks for",
)


def find_refused(script: str, overrides: Sequence[str], *, is_sweep: bool) -> list[Problem]:
    """The problems of typed overrides of Hydra's settings that cannot be set for this command."""
    refused = WRITTEN_BY_HYDRA | HELP_TEXTS
    if script != "train":
        refused |= {"hydra.run.": f"scripts/{script}.py has no folder of its own"}
    elif is_sweep:
        refused |= {
            "hydra.run.": "a sweep has hydra.sweep.dir and hydra.sweep.subdir",
            "resume=": "a sweep resumes its own runs when its command is typed again",
            "varied=": "it is derived from the overrides",
        }
    if not is_sweep:
        refused |= {"hydra.sweep.": "a single run has hydra.run.dir"}
    problems = refuse(overrides, refused)
    if script == "train" and "hydra.run.dir=." in overrides:
        fault = ": stands for a new folder in log_dir; leave it out, or name another folder"
        problems.append(Problem("hydra.run.dir=.", fault))
    if is_sweep and "hydra.mode=RUN" in overrides:
        problems.append(Problem("hydra.mode=RUN", ": -m asks for a sweep; use one of them"))
    return problems


def refuse(overrides: Sequence[str], refused: Mapping[str, str]) -> list[Problem]:
    """The problems of overrides whose keys begin as one that is refused, with the reason."""
    return [
        Problem(override, f": cannot be set here, as {reason}; leave it out")
        for override in overrides
        for prefix, reason in refused.items()
        if override.lstrip("+~").startswith(prefix) and not override.endswith("=null")
    ]


def find_problems_of_hydra(script: str, hydra: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of Hydra's settings, given as plain values with their interpolations."""
    sweeper = hydra["sweeper"] if isinstance(hydra["sweeper"], Mapping) else {}
    checked = {name: node for name, node in hydra.items() if name not in FIXED}
    if sweeper.get("_target_") == SEARCHER:  # find_problems_of_search checks the others
        checked["sweeper"] = {k: node for k, node in sweeper.items() if k not in OPTUNA_OBJECTS}
    yield from _unknown_targets(checked)
    # Lightning gives the processes that it starts a name of their own.
    process_name = f"train_ddp_process_{os.environ.get('LOCAL_RANK')}"
    job_name = process_name if hydra["job"]["name"] == process_name else script
    fixed = {**FIXED, "job.name": (job_name, "the settings name= and sweep= name runs and sweeps")}
    for name, (value, reason) in fixed.items():
        group, _, setting = name.rpartition(".")
        node = hydra[group] if group else hydra
        if node[setting] != value:
            yield Problem(f"hydra.{name}", f": cannot be set here, as {reason}; leave it out")
    for name in ("launcher", "sweeper"):
        if not (isinstance(hydra[name], Mapping) and "_target_" in hydra[name]):
            yield Problem(f"hydra.{name}", f": choose one with hydra/{name}=...")
    for name in hydra["job"]["env_set"]:
        if name not in VARIABLES:
            yield Problem(
                f"hydra.job.env_set.{name}",
                f": may not be set by a config; set it in the shell (here: {', '.join(VARIABLES)})",
            )
    if (size := sweeper.get("max_batch_size")) is not None and size < 1:
        yield Problem(f"hydra.sweeper.max_batch_size={size}", ": should be 1 or more, or null")
    for source in hydra["searchpath"]:
        if not hydra_adapter.source_exists(source):
            yield Problem("hydra.searchpath", f": there is no {source}; leave it out")
    for name in hydra["job"]["env_copy"]:
        if name not in os.environ:
            yield Problem("hydra.job.env_copy", f"={name}: {name} is not set in the environment")


def _unknown_targets(settings: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of classes that Hydra or logging would build, and that are not allowed."""
    for path, name in leaves(settings):
        is_target = not {"_target_", "()", "class"}.isdisjoint(path)
        if is_target and not (name in CLASSES or str(name).partition(".")[0] in trusted_packages()):
            yield Problem(
                f"hydra.{dotted(path)}",
                f"={name}: is not allowed; Hydra's settings may only name its launchers, "
                "sweepers, samplers and callbacks, and classes of trusted packages",
            )
