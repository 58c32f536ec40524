"""Where a setting came from: an override, or one of the files that were composed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from workbench.config.compose import key_of
from workbench.project import the_project


def source_of(place: str, config_name: str, overrides: Sequence[str]) -> str | None:
    """What set the entry at a dotted place last; None where that is not known.

    The config is the one that `HydraConfig` was last given.

    Args:
        place: such as `model.width`; where it is not set, what set its `_target_` counts.
        config_name: the config that was composed.
        overrides: what it was composed with.
    """
    configs = the_project().configs
    for override in reversed(overrides):
        key = key_of(override)
        # A group's own name chooses a file, and the file says more.
        sets = place == key or place.startswith(f"{key}.") or key.startswith(f"{place}.")
        if sets and not (configs / key).is_dir():
            group = key.replace(".", "/")
            meant = f"; to choose a file write {group}=..." if (configs / group).is_dir() else ""
            return f"from {override.removeprefix('++')}{meant}"
    parent = place.rpartition(".")[0]
    return _file_of(place, config_name, overrides) or _file_of(
        f"{parent}._target_", config_name, overrides
    )


def _file_of(place: str, config_name: str, overrides: Sequence[str]) -> str | None:
    loader = GlobalHydra.instance().config_loader()
    sources = HydraConfig.get().runtime.config_sources
    roots = [Path(source.path) for source in sources if source.schema == "file"]
    defaults = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN).defaults
    for default in reversed(defaults):
        files = [root / f"{default.config_path}.yaml" for root in roots]
        path = next((file for file in files if file.is_file()), None)
        if path and _holds(path.read_text("utf-8"), place, default.package or ""):
            return f"from {_shortened(path)}"
    return None


def _shortened(path: Path) -> Path:
    root = the_project().root
    return path.relative_to(root) if path.is_relative_to(root) else path


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
