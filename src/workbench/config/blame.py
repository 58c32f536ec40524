"""Turn exceptions of libraries into errors of the settings that caused them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import FrameType

import torch

from workbench.errors import ConfigError, UserError, first_line, is_of_library
from workbench.project import the_project


@contextmanager
def blaming(
    place: str,
    place_of: Callable[[FrameType], str | None] = lambda frame: None,
    only_if: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Turn an exception that a library raises into a ConfigError of one line.

    An exception from a file of the user's keeps its traceback, and so does a bug of this project.

    Args:
        place: the setting to name where `place_of` finds none.
        place_of: gives the setting that made the object whose method a frame runs.
        only_if: called when there is an exception; False leaves it as it is.

    Raises:
        ConfigError: names the setting of the innermost frame that has one.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = [frame for frame, _ in walk_tb(error.__traceback__)]
        is_own = _is_of_own_code([frame.f_code.co_filename for frame in frames])
        if not only_if() or (is_own and not _is_out_of_memory(error)):
            raise
        places = filter(None, map(place_of, reversed(frames)))
        raise ConfigError(f"{next(places, place)}: {first_line(error)}") from error


def project_folders() -> tuple[str, ...]:
    """The folders of the code of the workbench and of the project."""
    packages = (__name__.partition(".")[0], the_project().package)
    files = [getattr(sys.modules.get(package), "__file__", None) for package in packages]
    return tuple(str(Path(file).resolve().parent) for file in files if file)


def _is_of_own_code(files: list[str]) -> bool:
    """Whether an exception comes from the user's code, or from a bug of this project."""
    resolved = [str(Path(file).resolve()) for file in files if not file.startswith("<")]
    others = [file for file in resolved if not file.startswith(project_folders())]
    # The first two frames are this module's and the block's own, which may call a target that
    # refuses its arguments: that is no bug.
    is_bug = resolved[-1].startswith(project_folders()) and len(files) > 2
    return is_bug or not all(map(is_of_library, others))


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error)
