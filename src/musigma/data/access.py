"""Places on disk that may not be what their names say."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import DataError


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
