"""Everything that can be wrong with a job, found before it starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.config.check import find_problems
from workbench.config.misfits import find_misfits
from workbench.config.problem import Problem
from workbench.project import the_project


def find_problems_of_job(script: str, job: DictConfig) -> list[Problem]:
    """What is wrong with a composed job; what its parts say of one another comes last.

    Args:
        script: whose job it is: `train` and so on.
        job: the composed config, without Hydra's own settings.
    """
    if missing := list(_missing(OmegaConf.to_container(job), "")):
        return missing
    try:
        plain: Any = OmegaConf.to_container(job, resolve=True)
    except OmegaConfBaseException as error:
        return [Problem(error.full_key or "", f": {str(error).splitlines()[0]}")]
    problems = find_problems(plain, the_project().settings()[script])
    if not problems and script == "train":
        problems += find_misfits(plain)
    return problems


def _missing(node: Any, place: str) -> Iterator[Problem]:
    if node == "???":
        yield Problem(place, " is missing: it has no default, so give it a value")
    for key, value in node.items() if isinstance(node, Mapping) else []:
        yield from _missing(value, f"{place}.{key}" if place else key)
