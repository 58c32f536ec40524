"""The arguments of a target, by its signature."""

import collections.abc
import functools
import inspect
import numbers
import typing
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from workbench.config.settings import PASSED_ON
from workbench.project import the_project

STANDARD_TYPES: dict[str, Any] = {
    name: getattr(module, name) for module in (typing, collections.abc) for name in module.__all__
}


class Argument(NamedTuple):
    """The type of an argument, and whether it has to be given."""

    hint: Any
    is_required: bool


def arguments_of(target: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    """The named arguments of a target, and whether it takes any others."""
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
    onto = _passed_on_to(target)
    if takes_any and onto:
        others, takes_any = arguments_of(onto)
        # It may give some of them itself.
        named = {name: other._replace(is_required=False) for name, other in others.items()} | named
    return named, takes_any


def _of_plain_values(hint: Any) -> Any:
    """A hint in which `numbers.Number`, which nothing can be checked against, is `float`."""
    if hint is numbers.Number:
        return float
    if typing.get_origin(hint) is typing.Union and numbers.Number in typing.get_args(hint):
        return typing.Union[tuple(map(_of_plain_values, typing.get_args(hint)))]  # noqa: UP007
    return hint


@functools.cache
def _parameters_of(target: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """With annotations that are text where they name what is imported for type checkers alone."""
    for more in (None, STANDARD_TYPES):
        with suppress(NameError):
            return [*inspect.signature(target, eval_str=True, locals=more).parameters.values()]
    return [*inspect.signature(target).parameters.values()]


def _passed_on_to(target: Callable[..., Any]) -> Callable[..., Any] | None:
    """The callable that gets the arguments which a target does not name itself, if known."""
    base = target.__base__ if isinstance(target, type) else None
    if base and any(_is_of_project(kind) for kind in base.__mro__):
        return base  # as the project's classes do, and so those that others derive from them
    known = PASSED_ON.get(target)
    return known() if known else None


def _is_of_project(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == the_project().package
