"""Paths and addresses that a config names; those of somebody else's config are not used.

The user of this machine accepts a place by typing it, or by training a run with it here. Accepted
places are kept in a file in the user's home folder, one a line.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.config.hints import members
from workbench.config.nested import dotted, leaves
from workbench.config.signatures import arguments_of
from workbench.config.targets import find_class
from workbench.project import the_project

UNUSED_WHEN_OPENED = ("log_dir", "name", "resume", "sweep", "varied")
"""Settings of a run that have no effect when it is opened."""


def places_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The places that a config names, by the dotted names of the settings.

    A place is an address, a path that leads out of the working directory, or an argument of a data
    module that its signature types as a path.
    """
    used = {name: value for name, value in config.items() if name not in UNUSED_WHEN_OPENED}
    return dict(outside(used)) | dict(_paths_in(config.get("data") or {}, "data"))


def path_arguments(data: Mapping[str, Any], place: str = "data") -> set[str]:
    """The arguments that the `_target_` of a data module, or of a part of it, types as paths."""
    if "_target_" not in data:
        return set()
    known, _ = arguments_of(find_class(data["_target_"], place))
    return {name for name, argument in known.items() if Path in members(argument.hint)}


def _paths_in(data: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    paths = path_arguments(data, place)
    for name, value in data.items():
        if name in paths and isinstance(value, str):
            yield f"{place}.{name}", value
        elif isinstance(value, Mapping):
            yield from _paths_in(value, f"{place}.{name}")


def unnamed_places(config: Mapping[str, Any], folder: Path, typed: Collection[str]) -> str | None:
    """A message about the places in a run's config that the user has not accepted; None if all are.

    Args:
        config: from the run folder, with the settings that the user typed.
        folder: the run folder.
        typed: the dotted names of the settings that the user typed, whose places are accepted now.
    """
    places, accepted = places_of(config), _accepted()
    typed_places = {name for name in places if name.partition("[")[0] in typed}
    remember(places[name] for name in typed_places)
    unknown = {
        name: place
        for name, place in places.items()
        if name not in typed_places and _line(place) not in accepted
    }
    if not unknown:
        return None
    named = ", ".join(f"{name}={place}" for name, place in unknown.items())
    settings = dict.fromkeys(name.partition("[")[0] for name in unknown)
    return (
        f"{folder} comes from elsewhere: its config.yaml names {named}, which nobody has typed on "
        "this machine.\nNothing is read or requested from there. Type the place here, even if it "
        f"is the same: {' '.join(f'{name}=...' for name in settings)}"
    )


def remember(places: Iterable[str]) -> None:
    """Record places as accepted; if the file cannot be written, the user is asked again."""
    lines = {_line(place) for place in places} - _accepted()
    if not lines:
        return
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with _file().open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in sorted(lines))
    except OSError:
        return


def outside(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts in a config that are addresses or lead out of the working directory, by name."""
    for place, text in leaves(config):
        if isinstance(text, str):
            path = Path(text)
            if "://" in text or path.is_absolute() or text.startswith("~") or ".." in path.parts:
                yield dotted(place), text


def _line(place: str) -> str:
    path = place if "://" in place else os.path.abspath(Path(place).expanduser())
    return " ".join(path.splitlines())


def _accepted() -> set[str]:
    try:
        return set(_file().read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / the_project().package / "places.txt"
