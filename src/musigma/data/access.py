"""Turn errors of the file system and of other people's data sets into DataErrors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import DataError, UserError, described


@contextmanager
def readable(path: Path, setting: str) -> Iterator[None]:
    """Turn errors of reading a path into a DataError that names it and the setting to change.

    Args:
        path: the path, for errors that do not name one themselves.
        setting: the settings that determine it.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError if there is a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        name = str(getattr(error, "filename", None) or path).removesuffix("/.")
        raise DataError(
            f"{name!r} cannot be read: {reason}.\n"
            f"Check its path and permissions, or name another place with {setting}."
        ) from error


@contextmanager
def as_data_error(prefix: str) -> Iterator[None]:
    """Turn any exception of foreign code into a DataError whose message starts with `prefix`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise DataError(f"{prefix}: {described(error)}") from error


def folder_exists(folder: Path) -> bool:
    """True if the folder exists; unlike `Path.is_dir`, False means nothing but absence.

    Raises:
        OSError: if the path is not a folder, is a broken link or may not be accessed.
        ValueError: if it is not a valid path.
    """
    try:
        os.stat(f"{folder}/.")
    except FileNotFoundError:
        if folder.is_symlink():
            raise
        return False
    return True
