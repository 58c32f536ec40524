"""The arguments that a target takes, from its signature."""

import collections.abc
import functools
import inspect
import numbers
import typing
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from workbench.config.settings import KWARGS_RECEIVERS
from workbench.project import the_project

STANDARD_TYPES: dict[str, Any] = {
    name: getattr(module, name) for module in (typing, collections.abc) for name in module.__all__
}


class Argument(NamedTuple):
    """The type of an argument, and whether it has no default."""

    hint: Any
    is_required: bool


def arguments_of(target: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    """The named arguments of a target, and whether it takes others too.

    An argument without a type has the type of the base class's argument of the same name.
    """
    parameters = _parameters_of(target)
    named = {
        p.name: Argument(
            Any
            if isinstance(p.annotation, str) or p.annotation is p.empty
            else _of_plain_values(p.annotation),
            p.default is p.empty,
        )
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if receiver := _receiver_of_kwargs(target):
        others, takes_more = arguments_of(receiver)
        untyped = {p.name for p in parameters if p.annotation is p.empty} & others.keys() & {*named}
        named |= {name: named[name]._replace(hint=others[name].hint) for name in untyped}
        if takes_any:
            # The target may supply even required ones itself.
            optional = {name: one._replace(is_required=False) for name, one in others.items()}
            named, takes_any = optional | named, takes_more
    return named, takes_any


def _of_plain_values(hint: Any) -> Any:
    """Replace `numbers.Number` in a hint, which pydantic cannot check, by `float`."""
    if hint is numbers.Number:
        return float
    if typing.get_origin(hint) is typing.Union and numbers.Number in typing.get_args(hint):
        return typing.Union[tuple(map(_of_plain_values, typing.get_args(hint)))]  # noqa: UP007
    return hint


@functools.cache
def _parameters_of(target: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """The parameters; annotations stay text if they need imports made for type checkers only."""
    for names in (None, STANDARD_TYPES):
        with suppress(NameError):
            return [*inspect.signature(target, eval_str=True, locals=names).parameters.values()]
    return [*inspect.signature(target).parameters.values()]


def _receiver_of_kwargs(target: Callable[..., Any]) -> Callable[..., Any] | None:
    """The callable to which a target passes its `**kwargs`, if known."""
    base = target.__base__ if isinstance(target, type) else None
    packages = {kind.__module__.partition(".")[0] for kind in base.__mro__} if base else set()
    if the_project().package in packages:
        return base  # the project's classes pass them to their base class
    find = KWARGS_RECEIVERS.get(target)
    return find() if find else None
