"""Reading `config.yaml`, which may be a stranger's: not too large, nor too deep."""

from pathlib import Path
from typing import Any

import yaml

from workbench.errors import RunError, one_line

# libyaml's, ten times as fast, where PyYAML was built with it.
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_BYTES = 2_000_000
"""The most bytes of a YAML file."""

MOST_ENTRIES = 100_000
"""The most entries of a config, each counted as often as aliases repeat it."""

DEEPEST = 50
"""Levels of a config's entries."""


def read_config_file(path: Path) -> dict[str, Any]:
    """A run's config as it was written; a RunError if it is something else."""
    if path.stat().st_size > MOST_BYTES:
        raise RunError(f"{path} is not a run's config: it has over {MOST_BYTES:,} bytes")
    try:
        config = yaml.load(path.read_text("utf-8"), Loader=FAST_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read as YAML: {one_line(error)}") from error
    if not isinstance(config, dict):
        raise RunError(f"{path} does not hold a config: is it damaged?")
    if _is_excessive(config):
        raise RunError(
            f"{path} is not a run's config: it has over {MOST_ENTRIES:,} entries, or some that "
            f"are over {DEEPEST} levels deep"
        )
    return config


def _is_excessive(node: Any) -> bool:
    """True for more or deeper entries than any run's; a config that holds itself has them."""
    left, seen = [(node, 0)], 0
    while left:
        node, depth = left.pop()
        seen += 1
        inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        left += [(entry, depth + 1) for entry in inside]
        if depth > DEEPEST or seen + len(left) > MOST_ENTRIES:
            return True
    return False
