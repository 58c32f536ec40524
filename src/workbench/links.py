"""Checks of paths: links that lead out of a folder, and special files."""

import os
from pathlib import Path


def is_special(path: Path) -> bool:
    """True for a pipe, a socket or a device, from which reading may never end."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def leads_out(path: Path, root: Path) -> bool:
    """True if a path below `root` leads, through a link, out of `root` or in a circle."""
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True
