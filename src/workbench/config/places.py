"""Folders and servers that a config names; of somebody else's config they are not acted on.

A place counts as named by this machine's user once they have typed it, or once a run trained with
it here. Those are kept in a file of the user's, one a line.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.config.signatures import arguments_of
from workbench.config.targets import find_class, members
from workbench.project import the_project

NOT_ACTED_ON = ("log_dir", "name", "resume", "sweep", "varied")
"""Settings that a run which is opened does not go by."""


def places_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The places that a config names, by dotted name.

    A place is a text that is an address or a path out of the working directory, and any argument
    of a data module that its signature calls a path.
    """
    found = dict(outside({k: v for k, v in config.items() if k not in NOT_ACTED_ON}, ""))
    return found | dict(_paths_in(config.get("data") or {}, "data"))


def path_arguments(data: Mapping[str, Any], place: str = "data") -> set[str]:
    """The arguments of a described data module, or a part of it, that its signature calls paths."""
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


def unnamed_places(
    config: Mapping[str, Any], folder: Path, said: Collection[str] = ()
) -> str | None:
    """Why a config that is opened is not acted on: the places that the user has not named.

    Args:
        config: what was read from a run folder, with what was typed set in it.
        folder: the run folder.
        said: the dotted names of the settings that are given now; their places are kept as named.
    """
    places, known = places_of(config), _known()
    now = {name for name in places if name.partition("[")[0] in said}
    remember(places[name] for name in now)
    unknown = [n for n, place in places.items() if n not in now and _line(place) not in known]
    if not unknown:
        return None
    named = ", ".join(f"{name}={places[name]}" for name in unknown)
    settings = dict.fromkeys(name.partition("[")[0] for name in unknown)
    return (
        f"{folder} comes from elsewhere: its config.yaml names {named}, which nobody has typed on "
        "this machine.\nNothing is read or asked for there. Type where it is here, be it the same "
        f"place: {' '.join(f'{name}=...' for name in settings)}"
    )


def remember(places: Iterator[str] | Collection[str]) -> None:
    """Count places as named by the user; where that cannot be kept, they will be asked again."""
    lines = {_line(place) for place in places} - _known()
    if not lines:
        return
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with _file().open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in sorted(lines))
    except OSError:
        return


def outside(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Texts in a config that are addresses, or paths out of the working directory."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from outside(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from outside(item, f"{place}[{i}]")
    elif isinstance(node, str):
        path = Path(node)
        if "://" in node or path.is_absolute() or node.startswith("~") or ".." in path.parts:
            yield place, node


def _line(place: str) -> str:
    path = place if "://" in place else os.path.abspath(Path(place).expanduser())
    return " ".join(path.splitlines())


def _known() -> set[str]:
    try:
        return set(_file().read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / the_project().package / "places.txt"
