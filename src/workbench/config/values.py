"""Check a plain value against its type."""

import json
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from workbench.config.hints import describe_hint, members
from workbench.ranges import CHECKED, in_our_words

MISSING = "???"
"""The value of a setting that the user has to give."""


def value_message(value: Any, hint: Any) -> str | None:
    """The message about a plain value that is wrong; None if it is right.

    Types are as strict as in JSON: a text is not a number.
    """
    if value == MISSING:
        return "a value is missing"
    if not is_finite(value):
        return "should be a finite number"
    if value == "" and Path in members(hint):  # Path("") is the working directory
        return "is empty; write a value, or leave it out"
    return _type_message(value, hint)


def _type_message(value: Any, hint: Any) -> str | None:
    try:
        checked = _adapter(hint).validate_json(json.dumps(value), strict=True)
        if isinstance(checked, Iterator):  # an Iterable, whose items are checked as they are read
            if isinstance(value, str):
                return "should be a list"
            list(checked)
    except ValidationError as error:
        # A union has an error for each of its types; the first that a plain value can have counts.
        if isinstance(value, list) and error.errors()[0]["type"] == "missing":
            return "should have more entries"
        messages = [
            in_our_words(e["msg"]) for e in error.errors() if e["type"] != "needs_python_object"
        ]
        return messages[0] if messages else describe_hint(hint)
    except (PydanticUserError, TypeError):  # a type that pydantic does not know
        kinds = {typing.get_origin(kind) or kind for kind in members(hint)}
        if kinds <= {dict, type(None)} and value is not None:
            return describe_hint(hint)
    return None


_adapters: dict[int, tuple[Any, TypeAdapter[Any]]] = {}


def _adapter(hint: Any) -> TypeAdapter[Any]:
    """The pydantic adapter of a hint, made once; keyed by id, as many hints have no hash."""
    if id(hint) not in _adapters:
        _adapters[id(hint)] = hint, TypeAdapter(hint, config=CHECKED)
    return _adapters[id(hint)][1]


def is_finite(value: Any) -> bool:
    """False for an infinite number or NaN, and for a list that holds one."""
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
