"""Exceptions of libraries, told as faults of the settings that they come from."""

import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from workbench.errors import ConfigError, UserError
from workbench.project import the_project

LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")
)


@contextmanager
def blaming(
    place: str,
    place_of: Callable[[FrameType], str | None] = lambda frame: None,
    only_if: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Within it an exception that a library raises is a ConfigError of one line.

    One that comes from a file of the user's own keeps its traceback, and so does a bug of ours.

    Args:
        place: the setting that is named where no other is known.
        place_of: gives the setting that made the object whose method a frame is.
        only_if: is asked when there is an exception.

    Raises:
        ConfigError: names the setting of the innermost frame that has one.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = _frames(error)
        is_own = _is_of_own_code([frame.f_code.co_filename for frame in frames])
        if not only_if() or (is_own and not _is_out_of_memory(error)):
            raise
        known = filter(None, map(place_of, reversed(frames)))
        raise ConfigError(f"{next(known, place)}: {in_a_line(error)}") from error


def ours() -> tuple[str, ...]:
    """The folders of the workbench's code and the project's."""
    packages = (__name__.partition(".")[0], the_project().package)
    files = [getattr(sys.modules.get(package), "__file__", None) for package in packages]
    return tuple(str(Path(file).resolve().parent) for file in files if file)


def in_a_line(error: Exception) -> str:
    """The first line of an exception, with its type where it is not a sentence by itself."""
    text = next(filter(None, map(str.strip, str(error).splitlines())), "")
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def _is_of_own_code(files: list[str]) -> bool:
    resolved = [str(Path(file).resolve()) for file in files if not file.startswith("<")]
    others = [file for file in resolved if not file.startswith(ours())]
    # A call within the block itself, which is the second frame, may be one that a target refuses.
    is_bug_of_ours = resolved[-1].startswith(ours()) and len(files) > 2
    return is_bug_of_ours or not all(file.startswith(LIBRARIES) for file in others)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error)


def _frames(error: Exception) -> list[FrameType]:
    frames, traceback = [], error.__traceback__
    while traceback:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
