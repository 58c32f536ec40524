"""Reading `config.yaml`, whose size and depth are limited, as it may be a stranger's."""

from pathlib import Path
from typing import Any

import yaml

from workbench.errors import RunError, one_line

# libyaml's, ten times as fast, where PyYAML was built with it.
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_BYTES = 2_000_000
"""The largest YAML file that is read."""

MOST_ENTRIES = 100_000
"""The most entries of a config, where one that aliases repeat counts each time."""

MOST_LEVELS = 50
"""The most levels of nested entries."""


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a run's config as it was written; a RunError if the file is something else."""
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
            f"are over {MOST_LEVELS} levels deep"
        )
    return config


def _is_excessive(node: Any) -> bool:
    """True for too many or too deep entries; a config that contains itself has both."""
    pending, seen = [(node, 0)], 0
    while pending:
        node, depth = pending.pop()
        seen += 1
        inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        pending += [(entry, depth + 1) for entry in inside]
        if depth > MOST_LEVELS or seen + len(pending) > MOST_ENTRIES:
            return True
    return False
