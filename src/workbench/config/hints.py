"""The types of settings, as annotations write them: what each of them allows."""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any


def members(hint: Any) -> list[Any]:
    """The types in a union, or the hint itself, without annotations."""
    if typing.get_origin(hint) is typing.Annotated:
        return members(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in members(part)]
    return [hint]


def classes_in(hint: Any) -> list[type]:
    """The classes of which a hint allows an instance, or a recipe for one."""
    results = [_result(kind) for kind in members(hint)]
    return [kind for kind in results if inspect.isclass(kind) and not _is_plain(kind)]


def is_recipe(hint: Any) -> bool:
    """Whether a hint asks for a callable, which makes an object later."""
    return any(typing.get_origin(kind) is Callable for kind in members(hint))


def is_mapping(hint: Any) -> bool:
    """Whether a hint allows a mapping of plain values."""
    kinds = [typing.get_origin(kind) or kind for kind in members(hint)]
    return any(inspect.isclass(kind) and issubclass(kind, Mapping) for kind in kinds)


def hint_of_items(hint: Any, container: Any) -> Any:
    """The type of the items of a `Sequence` or of the values of a `Mapping`; Any if unknown."""
    for kind in members(hint):
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if inspect.isclass(origin) and issubclass(origin, container) and arguments:
            return arguments[1] if container is Mapping else arguments[0]
    return Any


def describe_hint(hint: Any) -> str:
    """The words for what a hint allows, such as `should be a mapping`."""
    kinds = [_result(kind) for kind in members(hint) if kind is not type(None)]
    if Any in kinds:
        return (
            "should be a plain value, without a _target_, as the argument has no type that says "
            "what to build: give it one where it is defined, as in `name: Class`"
        )
    names = map(_name, kinds)
    how = ", described with a _target_" if classes_in(hint) else ""
    return f"should be {' or '.join(names)}{how}"


def _name(kind: Any) -> str:
    if is_mapping(kind):
        return "a mapping"
    return kind.__name__ if inspect.isclass(kind) else str(kind).replace("typing.", "")


def _is_plain(kind: type) -> bool:
    """Whether a class is one of plain values, such as numbers, texts, paths and tensors."""
    module = kind.__module__
    return module == "torch" or module.partition(".")[0] in {"builtins", *sys.stdlib_module_names}


def _result(kind: Any) -> Any:
    """The return type of a Callable, Any if it has none; other types as they are."""
    if kind is Callable or kind is typing.Callable:
        return Any
    return typing.get_args(kind)[1] if typing.get_origin(kind) is Callable else kind
