"""Everything that can be wrong with a job, found before it starts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musigma.config.build import build_callbacks, build_data, build_module, check_precision
from musigma.config.check import Problem, find_problems
from musigma.config.settings import SETTINGS
from musigma.errors import ConfigError

HYDRA_MAY_NAME = ("hydra", "hydra_plugins", "logging", "colorlog", "optuna", "musigma")
"""The packages whose classes Hydra's own settings may name."""


def find_problems_of_job(script: str, job: DictConfig) -> list[Problem]:
    """What is wrong with a composed job; what its parts say of one another comes last.

    Args:
        script: whose job it is: `train` and so on.
        job: the composed config, Hydra's own settings among it.
    """
    problems = list(_targets_of_hydra(OmegaConf.to_container(job.hydra), "hydra"))
    config = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
    if missing := list(_missing(OmegaConf.to_container(config), "")):
        return problems + missing
    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return [*problems, Problem(error.full_key or "", f": {str(error).splitlines()[0]}")]
    problems += find_problems(plain, SETTINGS[script])
    if not problems and script == "train":
        problems += _misfits(plain)
    return problems


def _misfits(config: dict[str, Any]) -> Iterator[Problem]:
    """What the objects of a run say when they are put together."""
    try:
        build_module(config, build_data(config))
        build_callbacks(config)
        trainer = config["trainer"]
        check_precision(trainer.get("precision"), trainer.get("accelerator", "auto"))
    except ConfigError as error:
        place, _, message = str(error).partition(":")
        yield Problem(place, f":{message}")


def _missing(node: Any, place: str) -> Iterator[Problem]:
    if node == "???":
        yield Problem(place, " is missing: it has no default, so give it a value")
    for key, value in node.items() if isinstance(node, Mapping) else []:
        yield from _missing(value, f"{place}.{key}" if place else key)


def _targets_of_hydra(node: Any, place: str) -> Iterator[Problem]:
    """Classes that Hydra or logging would build for a config and should not."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        for i, item in enumerate(node):
            yield from _targets_of_hydra(item, f"{place}[{i}]")
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key not in ("_target_", "()", "class"):
                yield from _targets_of_hydra(value, f"{place}.{key}")
            elif str(value).partition(".")[0] not in HYDRA_MAY_NAME:
                allowed = ", ".join(HYDRA_MAY_NAME)
                yield Problem(f"{place}.{key}", f"={value}: only classes of {allowed} may be named")
