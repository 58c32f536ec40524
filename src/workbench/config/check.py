"""Check a config against the signatures of the classes that it names, before anything is built."""

import difflib
import functools
import importlib.util
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.config.hints import describe_hint, hint_of_items, is_mapping, is_recipe, members
from workbench.config.problem import Problem, raise_all
from workbench.config.settings import EXTRA_SETTINGS, EXTRAS, GIVEN_LATER, RANGES
from workbench.config.signatures import Argument, arguments_of
from workbench.config.targets import target_of
from workbench.config.values import value_message
from workbench.errors import ConfigError
from workbench.foreign import is_foreign
from workbench.project import the_project


def check_config(config: Mapping[str, Any], settings: type | None = None) -> None:
    """Raise a ConfigError that lists the problems of `find_problems`."""
    raise_all(find_problems(config, settings))


def find_problems(
    config: Mapping[str, Any],
    settings: type | None = None,
    checked: dict[str, list[Problem]] | None = None,
) -> list[Problem]:
    """The problems of names, required entries, types and ranges in a resolved config.

    Args:
        config: plain values, resolved.
        settings: a TypedDict with the type of each entry; by default that of train.yaml.
        checked: a cache of the problems of each entry, for configs with the same `settings`.
    """
    known = _entries_of(settings or the_project().settings()["train"])
    optional = {name: argument._replace(is_required=False) for name, argument in known.items()}
    checked = {} if checked is None else checked
    problems: list[Problem] = []
    for name, value in config.items():
        entry = f"{name!r}: {value!r}"
        if entry not in checked:
            checked[entry] = list(_check_entries({name: value}, optional, "", "the config"))
        problems += checked[entry]
    return problems + list(_missing_entries(config, known, "", "the config"))


@functools.cache
def _entries_of(settings: type) -> dict[str, Argument]:
    hints = typing.get_type_hints(settings, include_extras=True)
    return {
        name: Argument(typing.get_args(hint)[0], False)
        if typing.get_origin(hint) is typing.NotRequired
        else Argument(hint, True)
        for name, hint in hints.items()
    }


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
            yield Problem(
                where, _unknown_message(name, [k for k in known if k not in given_later], owner)
            )
    required = {name: known[name] for name in known if name not in given_later}
    yield from _missing_entries(entries, required, prefix, owner)


def _missing_entries(
    entries: Mapping[str, Any], known: Mapping[str, Argument], prefix: str, owner: str
) -> Iterator[Problem]:
    for name, argument in known.items():
        if argument.is_required and name not in entries:
            yield Problem(f"{prefix}{name}", f" is missing: {owner} needs it")


def _unknown_message(name: str, known: Sequence[str], owner: str) -> str:
    close = difflib.get_close_matches(str(name), known)
    transposed = [other for other in close if sorted(other) == sorted(str(name))]  # modle, model
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    hint = f"did you mean {(transposed or close)[0]}?" if close else takes
    return f": {owner} has no argument {name}; {hint}"


def _check_value(value: Any, hint: Any, place: str) -> Iterator[Problem]:
    """Check a value against its type hint, and a mapping with a `_target_` against that class."""
    typed_dict = next(filter(typing.is_typeddict, members(hint)), None)
    if typed_dict and isinstance(value, Mapping):
        yield from _check_entries(value, _entries_of(typed_dict), place, place)
    elif typed_dict and value is not None:
        yield Problem(place, f"={_shown(value)}: should hold {', '.join(_entries_of(typed_dict))}")
    elif isinstance(value, Mapping):
        if "_target_" in value:
            yield from _check_description(value, hint, place)
        elif is_mapping(hint):
            inner = hint_of_items(hint, Mapping)
            inner = Any | dict if inner is Any else inner  # a mapping of any depth
            for name, entry in value.items():
                yield from _check_value(entry, inner, f"{place}.{name}")
        elif value or "." in place or type(None) not in members(hint):  # {} is null for a group
            yield Problem(place, f"={_shown(value)}: {describe_hint(hint)}")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        inner = hint_of_items(hint, Sequence)
        for i, item in enumerate(value):
            yield from _check_value(item, inner, f"{place}[{i}]")
    elif message := value_message(value, hint):
        yield Problem(place, f"={_shown(value)}: {message}")


def _check_description(node: Mapping[str, Any], hint: Any, place: str) -> Iterator[Problem]:
    """Check a mapping with a `_target_` against the type of its place, and then its arguments."""
    try:
        target = target_of(node, hint, place)
    except ConfigError as error:
        yield Problem.of(error)
        return
    extra = EXTRAS.get(target)
    if extra and not importlib.util.find_spec(extra):
        yield Problem(place, f" needs the extra {extra}: pip install -e '.[{extra}]'")
        return
    known, takes_any = arguments_of(target)
    arguments = {k: v for k, v in node.items() if k not in ("_target_", "_partial_")}
    if takes_any:
        known = {name: Argument(Any, False) for name in arguments} | known
    if is_recipe(hint):  # the missing arguments are given when it is called
        known = {name: argument._replace(is_required=False) for name, argument in known.items()}
    nested = the_project().extra_nodes().get(place, {})
    known |= {name: Argument(kind, True) for name, kind in nested.items()}
    known |= {name: Argument(kind, False) for name, kind in EXTRA_SETTINGS.get(place, {}).items()}
    given_later: set[str] = set()
    if not is_foreign(target):  # a run supplies no arguments to the user's own classes
        by_place = {**GIVEN_LATER, **the_project().given_later}
        given_later = by_place.get(place) or by_place.get(f"{place.rpartition('.')[0]}.*", set())
    yield from _check_entries(arguments, known, place, node["_target_"], given_later)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
