"""Paths that lead elsewhere, or to what is not a file."""

import os
from pathlib import Path


def is_special(path: Path) -> bool:
    """True for a pipe, a socket or a device, from which reading may never end."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def leads_out(path: Path, root: Path) -> bool:
    """True if a path somewhere below `root` is, through a link, elsewhere or nowhere."""
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True
