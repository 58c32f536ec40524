"""Holding a config against the signatures of what it builds, before anything is built."""

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from musigma.config.instantiate import find_target
from musigma.errors import ConfigError

GIVEN_LATER = {
    "model": {"image_shape", "objective"},
    "trainer": {"callbacks", "logger", "default_root_dir"},
    "logger.*": {"save_dir"},
}
"""Arguments that the run itself supplies, by the place of their target."""


def check_config(config: Mapping[str, Any]) -> None:
    """Check every `_target_` in a resolved config: names, required arguments and types.

    Raises:
        ConfigError: lists everything that is wrong, each with its place.
    """
    problems = [problem for key, value in config.items() for problem in _walk(value, key)]
    if problems:
        raise ConfigError("\n".join(problems))


def _walk(node: Any, place: str) -> list[str]:
    if isinstance(node, list):
        return [p for i, value in enumerate(node) for p in _walk(value, f"{place}[{i}]")]
    if not isinstance(node, Mapping):
        return []
    problems = _check_call(node, place) if "_target_" in node else []
    return problems + [p for key, value in node.items() for p in _walk(value, f"{place}.{key}")]


def _check_call(node: Mapping[str, Any], place: str) -> list[str]:
    try:
        target = find_target(node["_target_"], place)
    except ConfigError as error:
        return [str(error)]
    parent = place.rpartition(".")[0]
    later = GIVEN_LATER.get(place, set()) | GIVEN_LATER.get(f"{parent}.*", set())
    arguments = {k: v for k, v in node.items() if k not in ("_target_", "_partial_", *later)}
    parameters = inspect.signature(target).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    problems = [
        _unknown(name, place, list(parameters), node["_target_"])
        for name in arguments
        if name not in parameters and not open_ended
    ]
    if not node.get("_partial_", False):
        problems += [
            f"{place}.{name} is missing: {node['_target_']} needs it"
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and name not in arguments
            and name not in later
        ]
    hints = _hints(target)
    for name, value in arguments.items():
        if name in parameters and name in hints and (problem := _mistyped(value, hints[name])):
            problems.append(f"{place}.{name}={value!r}: {problem}")
    return problems


def _unknown(name: str, place: str, known: list[str], target: str) -> str:
    nearest = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"it takes {', '.join(known)}"
    return f"{place}.{name}: {target} has no argument {name}; {hint}"


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):  # a library's annotations for type checkers alone
        return {}


def _mistyped(value: Any, hint: Any) -> str | None:
    """What is wrong with the type of a plain value; nested targets are not built yet."""
    if isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
    ):
        return None
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a type with a config of its own
        return None
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        # A union has an error for each of its members; the first is the one meant.
        return error.errors()[0]["msg"]
    except TypeError:  # a protocol that cannot be asked
        return None
    return None
