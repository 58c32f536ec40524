"""Checks of the contents of a run folder: links, special files, and files of others."""

import os
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import RunError
from workbench.links import is_special, leads_out

BEGUN = {".lock", "checkpoints", "config.yaml.partial", "metrics.json", "failure.txt"}
"""The files of a run folder that has no config yet."""


def check_inside(folder: Path, root: Path) -> None:
    """Check that all of a run folder is in `root`, a folder above it or the run folder itself.

    wandb links its folder in there to logs of its own elsewhere, and replaces such links before
    it writes; nothing here reads them.

    Raises:
        RunError: if a link leads out, or something is neither a file nor a folder.
    """
    for file in (folder, *_entries(folder)):
        if file.is_symlink() and leads_out(file, root):
            left = "the run folder" if root == folder else root
            raise RunError(
                f"{file} is a link out of {left}, which is not followed: put there what it points "
                "to, or remove it"
            )
        if is_special(file):
            raise RunError(f"{file} is neither a file nor a folder: remove it")


def check_own(path: Path, root: Path | None = None) -> None:
    """Check that a run may write into a folder: it is not there, empty, or has a run's files.

    Args:
        path: the folder.
        root: the folder above it that it may not lead out of, if there is one.

    Raises:
        RunError: if not.
    """
    if root and os.path.lexists(path):
        check_inside(path, root)
    if not path.exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is not a folder: remove it")
    others = set(os.listdir(path)) - BEGUN
    # Asked afterwards, as another process may begin the run in between.
    if others and not (path / "config.yaml").exists():
        raise RunError(
            f"{path} holds other files, such as {min(others)}: a run needs a folder of its own; "
            "name one that is not there yet"
        )


def _entries(folder: Path) -> Iterator[Path]:
    """All that is in a folder, of which some may vanish meanwhile."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in [*folders, *files])
        if Path(place) == folder and "wandb" in folders:
            folders.remove("wandb")
