"""Find the sets, the classes and the image files in a folder."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from musigma.data.image_files import is_image_file
from workbench.errors import DataError

log = logging.getLogger(__name__)

SETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Name of a folder, in lower case → the set that it holds."""


def set_folders(path: Path) -> dict[str, Path]:
    """The folders `train`, `val` and `test` in a folder, by set; empty if its folders are classes.

    Raises:
        DataError: if a set has two folders, `train` is missing, or it is unclear whether folders
            are sets or classes.
    """
    sets: dict[str, Path] = {}
    others = []
    for place in sorted(path.iterdir()):
        name = SETS.get(place.name.lower())
        if not place.is_dir() or not name:
            others.append(place)
        elif name in sets:
            raise DataError(f"{sets[name]} and {place} are both a {name} set: keep one of them")
        else:
            sets[name] = place
    beside = next(filter(_contains_images, others), None)
    if "train" in sets and len(sets) > 1:
        if beside:
            names = " and ".join(place.name for place in sets.values())
            log.warning("%s is not read: the sets are %s", beside, names)
        return sets
    if "train" in sets and not beside:
        return sets
    if sets and not beside:
        (name, *_) = sets
        raise DataError(f"{sets[name]} is there, and {path / 'train'} is not: add it")
    for folder in sets.values():
        # A folder that holds images directly may be a class of that name.
        if any(place.is_dir() and _contains_images(place) for place in folder.iterdir()):
            raise DataError(
                f"{folder} holds folders of classes, and {beside} lies beside it: move one of the "
                "two elsewhere"
            )
    return {}


def files_with_classes(folder: Path) -> list[tuple[Path, str]]:
    """The image files of a set and the names of their classes, empty if there are no classes.

    Raises:
        DataError: if there are no images, or some lie beside folders of classes.
    """
    files = []
    for path in sorted(_image_files(folder)):
        parts = path.relative_to(folder).parts
        files.append((path, parts[0] if len(parts) > 1 else ""))
    if not files:
        raise DataError(f"{folder} and the folders in it hold no image files")
    unclassified = [path for path, class_name in files if not class_name]
    if 0 < len(unclassified) < len(files):
        raise DataError(
            f"{unclassified[0]} lies beside folders of classes: move it into one of them"
        )
    return files


def _contains_images(place: Path) -> bool:
    """True for an image file, or a visible folder with one at any depth."""
    if place.is_dir():
        return not _is_hidden(place.name) and any(_image_files(place))
    return is_image_file(place)


def _image_files(folder: Path) -> Iterator[Path]:
    """The visible image files in a folder, at any depth and through links."""
    for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        here = Path(place)
        folders[:] = [
            name for name in folders if not _is_hidden(name) and not _is_loop(here / name)
        ]
        yield from filter(is_image_file, (here / name for name in names))


def _is_loop(folder: Path) -> bool:
    """True for a link to a folder that contains it."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"  # added to archives by macOS


def _raise(error: OSError) -> None:
    raise error
