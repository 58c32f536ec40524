"""The source of a setting: an override, or one of the files that were composed."""

from typing import Any

import yaml

from workbench.config import hydra_adapter
from workbench.config.compose import Composed, Composer
from workbench.config.faults import key_of, shortened
from workbench.project import the_project


def source_of(place: str, composer: Composer, composed: Composed) -> str | None:
    """The override or file that set the entry at a dotted place last; None if that is not known.

    Args:
        place: such as `model.width`; where it is not set, what set its `_target_` counts.
        composer: of the config.
        composed: the config and its overrides.
    """
    configs = the_project().configs
    for override in reversed(composed.fitting):
        key = key_of(override)
        # A group's own name chooses a file, and the file says more.
        sets = place == key or place.startswith(f"{key}.") or key.startswith(f"{place}.")
        if sets and not (configs / key).is_dir():
            group = key.replace(".", "/")
            meant = f"; to choose a file write {group}=..." if (configs / group).is_dir() else ""
            return f"from {override.removeprefix('++')}{meant}"
    parent = place.rpartition(".")[0]
    return _file_of(place, composer, composed) or _file_of(f"{parent}._target_", composer, composed)


def _file_of(place: str, composer: Composer, composed: Composed) -> str | None:
    roots = hydra_adapter.roots_of(composed.config)
    for name, package in reversed(composer.files.defaults(composed.choices)):
        files = [root / f"{name}.yaml" for root in roots]
        path = next((file for file in files if file.is_file()), None)
        if path and _holds(path.read_text("utf-8"), place, package):
            return f"from {shortened(path)}"
    return None


def _holds(text: str, place: str, package: str) -> bool:
    if package and not place.startswith(f"{package}."):
        return False
    node: Any = yaml.safe_load(text)
    for name in place.removeprefix(f"{package}.").split("."):
        named = {str(key): value for key, value in node.items()} if isinstance(node, dict) else {}
        if name not in named:
            return False
        node = named[name]
    return True
