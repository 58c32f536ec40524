"""Checks of the contents of a run folder: links, special files, and files of other programs."""

import os
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import RunError
from workbench.links import is_special, leads_out

FIRST_FILES = {".lock", "checkpoints", "config.yaml.partial", "metrics.json", "failure.txt"}
"""The files that a run folder may have before its config."""


def check_inside(folder: Path, root: Path) -> None:
    """Check that no link in a run folder leads out of `root`: this folder or one above it.

    The contents of `wandb/` are not checked: wandb links them to its own logs elsewhere and
    replaces the links before it writes; nothing here reads them.

    Raises:
        RunError: if a link leads out, or something is neither a file nor a folder.
    """
    for file in (folder, *_entries(folder)):
        if file.is_symlink() and leads_out(file, root):
            place = "the run folder" if root == folder else root
            raise RunError(
                f"{file} is a link out of {place}, which is not followed: put what it points to in "
                "its place, or remove it"
            )
        if is_special(file):
            raise RunError(f"{file} is neither a file nor a folder: remove it")


def check_own(path: Path, root: Path | None = None) -> None:
    """Check that a run may write into a folder: it does not exist, is empty, or holds a run.

    Args:
        path: the folder.
        root: a folder above it that no link in it may lead out of, if that matters.

    Raises:
        RunError: if the folder holds something else.
    """
    if root and os.path.lexists(path):
        check_inside(path, root)
    if not path.exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is not a folder: remove it")
    others = set(os.listdir(path)) - FIRST_FILES
    # Checked after the listing, because another process may begin the run in between.
    if others and not (path / "config.yaml").exists():
        raise RunError(
            f"{path} holds other files, such as {min(others)}: a run needs a folder of its own; "
            "name one that does not exist yet"
        )


def _entries(folder: Path) -> Iterator[Path]:
    """The files and folders in a folder, without those of `wandb/`; some may vanish meanwhile."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in [*folders, *files])
        if Path(place) == folder and "wandb" in folders:
            folders.remove("wandb")
