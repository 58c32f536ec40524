"""Holding a config against the signatures of what it builds, before anything is built."""

import difflib
import importlib.util
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from musigma.config.instantiate import find_target
from musigma.config.settings import (
    EXTRAS,
    GIVEN_LATER,
    KEPT_ASIDE,
    RANGES,
    TrainSettings,
)
from musigma.config.signatures import Argument, arguments_of
from musigma.errors import ConfigError
from musigma.ranges import CHECKED


class Problem(NamedTuple):
    """Something that cannot be right.

    Args:
        place: where in the config it is, dotted.
        message: what is wrong and what would be right.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}{self.message}"


def check_config(config: Mapping[str, Any]) -> None:
    """Check names, required entries, types and ranges in a resolved config of train.yaml.

    Raises:
        ConfigError: lists everything that is wrong, each with its place.
    """
    if problems := find_problems(config):
        raise ConfigError("\n".join(map(str, problems)))


def find_problems(config: Mapping[str, Any], settings: type = TrainSettings) -> list[Problem]:
    """Everything that is wrong with names, required entries, types and ranges.

    Args:
        config: plain values, resolved.
        settings: a TypedDict that says what each entry is or builds.
    """
    hints = typing.get_type_hints(settings, include_extras=True)
    known = {
        name: Argument(typing.get_args(hint)[0], False)
        if typing.get_origin(hint) is typing.NotRequired
        else Argument(hint, True)
        for name, hint in hints.items()
    }
    return list(_check_entries(config, known, "", "the config"))


def _check_entries(
    entries: Mapping[str, Any],
    known: Mapping[str, Argument],
    place: str,
    owner: str,
    given_later: frozenset[str] | set[str] = frozenset(),
) -> Iterator[Problem]:
    prefix = f"{place}." if place else ""
    for name, value in entries.items():
        where = f"{prefix}{name}"
        if name in given_later:
            yield Problem(where, ": is set by the run itself; leave it out")
        elif name in known:
            yield from _check_value(value, RANGES.get(where, known[name].hint), where)
        else:
            yield Problem(where, _unknown(name, [k for k in known if k not in given_later], owner))
    for name, argument in known.items():
        if argument.is_required and name not in entries and name not in given_later:
            yield Problem(f"{prefix}{name}", f" is missing: {owner} needs it")


def _unknown(name: str, known: Sequence[str], owner: str) -> str:
    nearest = difflib.get_close_matches(name, known, 1)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    hint = f"did you mean {nearest[0]}?" if nearest else takes
    return f": {owner} has no argument {name}; {hint}"


def _check_value(value: Any, hint: Any, place: str) -> Iterator[Problem]:
    """Hold a value against what it should be, or describe."""
    kinds = _members(hint)
    if isinstance(value, Mapping):
        entries = [typing.get_args(kind)[1] for kind in kinds if typing.get_origin(kind) is dict]
        if "_target_" in value:
            yield from _check_description(value, kinds, place)
        elif entries:
            for name, entry in value.items():
                yield from _check_value(entry, entries[0], f"{place}.{name}")
        elif value or "." in place or type(None) not in kinds:  # an empty group is none
            yield Problem(place, f"={_shown(value)}: {_wanted(kinds)}")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = [typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is list]
        for i, item in enumerate(value):
            yield from _check_value(item, items[0][0] if items else Any, f"{place}[{i}]")
    elif message := _mistyped(value, hint):
        yield Problem(place, f"={_shown(value)}: {message}")


def _check_description(
    node: Mapping[str, Any], kinds: Sequence[Any], place: str
) -> Iterator[Problem]:
    """Hold a mapping with a `_target_` against the target, and the target against its place."""
    name = node["_target_"]
    try:
        target = find_target(name, place)
    except ConfigError as error:
        yield Problem(place, str(error).removeprefix(place))
        return
    recipes = [kind for kind in kinds if typing.get_origin(kind) is Callable]
    is_partial = node.get("_partial_", False)
    if not isinstance(is_partial, bool) or (is_partial != bool(recipes) and kinds != [Any]):
        right = "true" if recipes else "false, or left out"
        yield Problem(f"{place}._partial_", f"={_shown(is_partial)}: should be {right} here")
    if not _may_be(target, _made(kinds)):
        yield Problem(f"{place}._target_", f"={name}: {_wanted(kinds)}")
        return
    extra = EXTRAS.get(target)
    if extra and not importlib.util.find_spec(extra):
        yield Problem(place, f" needs the extra {extra}: pip install -e '.[{extra}]'")
        return
    known, takes_any = arguments_of(target)
    arguments = {k: v for k, v in node.items() if k not in ("_target_", "_partial_")}
    if takes_any:
        known = {name: Argument(Any, False) for name in arguments} | known
    if recipes:  # the rest is given when it is called
        known = {name: argument._replace(is_required=False) for name, argument in known.items()}
    for beside, hint in KEPT_ASIDE.get(place, {}).items():
        known[beside] = Argument(hint, True)
    later = GIVEN_LATER.get(place) or GIVEN_LATER.get(f"{place.rpartition('.')[0]}.*", set())
    yield from _check_entries(arguments, known, place, name, later)


def _mistyped(value: Any, hint: Any) -> str | None:
    """What is wrong with a plain value, as strictly as JSON is: no text for numbers."""
    try:
        adapter = TypeAdapter(hint, config=CHECKED)
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # A union has an error for each of its members; of those that a plain value can be, the
        # first is the one meant.
        messages = [e["msg"] for e in error.errors() if e["type"] != "needs_python_object"]
        return messages[0] if messages else _wanted(_members(hint))
    except (PydanticUserError, TypeError):  # a type that cannot be asked
        return None
    return None


def _members(hint: Any) -> list[Any]:
    """The members of a union, or the one hint, each without its annotations."""
    if typing.get_origin(hint) is typing.Annotated:
        return _members(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in _members(part)]
    return [Any if hint is inspect.Parameter.empty else hint]


def _may_be(target: Any, kinds: Sequence[Any]) -> bool:
    """Whether what a target makes can be of one of these kinds, as far as its class tells."""
    classes = [kind for kind in kinds if inspect.isclass(kind) and not _is_protocol(kind)]
    if not inspect.isclass(target) or len(classes) < len(kinds):
        return True
    return issubclass(target, tuple(classes))


def _wanted(kinds: Sequence[Any]) -> str:
    """What belongs here, in words."""
    made = [kind for kind in _made(kinds) if kind is not type(None)]
    names = [
        kind.__name__ if inspect.isclass(kind) else str(kind).replace("typing.", "")
        for kind in made
    ]
    described = any(inspect.isclass(kind) and kind.__module__ != "builtins" for kind in made)
    return f"should be {' or '.join(names)}" + (", described with a _target_" if described else "")


def _made(kinds: Sequence[Any]) -> list[Any]:
    """What recipes among the kinds make, in their stead."""
    return [typing.get_args(k)[1] if typing.get_origin(k) is Callable else k for k in kinds]


def _is_protocol(kind: Any) -> bool:
    return getattr(kind, "_is_protocol", False)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
