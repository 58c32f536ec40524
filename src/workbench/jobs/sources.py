"""Find the override or the config file that a setting comes from."""

import re

import yaml

from workbench.config.problem import Problem
from workbench.jobs import hydra_adapter
from workbench.jobs.compose import Composed, Composer, is_absent
from workbench.jobs.locate import key_of, shorten_path
from workbench.project import the_project


def source_of(problem: Problem, composer: Composer, composed: Composed) -> str | None:
    """The override or file that set a wrong setting last, for messages; None if it is not known.

    For a problem of a whole group, it is the last setting inside it that the message names. If
    nothing sets it, the source is that of the `_target_` that it is an argument of.
    """
    place, configs = problem.place, the_project().configs
    named = set(re.findall(r"\w+", problem.message))
    for override in reversed(composed.applied):
        key = key_of(override)
        if "/" in key and key.replace("/", ".") == place:
            return f"from {override}"
        is_inside = key.startswith(f"{place}.") and key.rpartition(".")[2] in named
        sets = place == key or place.startswith(f"{key}.") or is_inside
        # Skip an override that chooses a group's file: the file is the more precise source.
        if sets and not (configs / key).is_dir():
            group = key.replace(".", "/")
            hint = f"; to choose a file write {group}=..." if (configs / group).is_dir() else ""
            return f"from {override.removeprefix('++')}{hint}"
    parent = place.rpartition(".")[0]
    return _file_of(place, composer, composed) or _file_of(f"{parent}._target_", composer, composed)


def _file_of(place: str, composer: Composer, composed: Composed) -> str | None:
    roots = hydra_adapter.roots_of(composed.config)
    for name, package in reversed(composer.files.defaults(composed.choices)):
        files = [root / f"{name}.yaml" for root in roots]
        path = next((file for file in files if file.is_file()), None)
        if path and _holds(path.read_text("utf-8"), place, package):
            return f"from {shorten_path(path)}"
    return None


def _holds(text: str, place: str, package: str) -> bool:
    """Whether a YAML text, merged into the config at `package`, has the setting `place`."""
    prefix = f"{package}." if package else ""
    inside = place.removeprefix(prefix)
    return place.startswith(prefix) and not is_absent(inside, yaml.safe_load(text))
