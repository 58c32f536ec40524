"""Errors of places on disk, and of somebody else's data sets, as ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import DataError, UserError, one_line


@contextmanager
def readable(path: Path, setting: str) -> Iterator[None]:
    """Turn errors of reading a place into a DataError with its name.

    Args:
        path: the place.
        setting: the settings that name it.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # the latter of a NUL in a name
        reason = getattr(error, "strerror", None) or str(error)
        place = str(getattr(error, "filename", None) or path).removesuffix("/.")
        raise DataError(
            f"{place!r} cannot be read: {reason}.\n"
            f"Check its path and permissions, or name another place with {setting}."
        ) from error


@contextmanager
def blamed(place: str) -> Iterator[None]:
    """Turn errors of somebody else's class into a DataError that begins with a place."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise DataError(f"{place}: {type(error).__name__}: {one_line(error)}") from error


def is_there(folder: Path) -> bool:
    """True if there is such a folder.

    Raises:
        OSError: if something else has its name, or it may not be read.
        ValueError: if it cannot be a name.
    """
    try:
        os.stat(f"{folder}/.")
    except FileNotFoundError:
        if folder.is_symlink():
            raise
        return False
    return True
