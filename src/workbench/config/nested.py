"""The values in nested mappings and lists, such as those of a config, by their places."""

import functools
import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from typing import Any

KeyPath = tuple[str | int, ...]
"""The keys and indices that lead to a value."""


def leaves(node: Any, path: KeyPath = (), *, lists: bool = True) -> Iterator[tuple[KeyPath, Any]]:
    """The values that hold no others, each with the path to it, which begins with `path`.

    Without `lists`, a list is one value.
    """
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, (*path, str(key)), lists=lists)
    elif isinstance(node, list) and node and lists:
        for i, item in enumerate(node):
            yield from leaves(item, (*path, i))
    else:
        yield path, node


def dotted(path: KeyPath) -> str:
    """The name of a setting: `("a", "b", 0)` → `a.b[0]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name; lists are not flattened, and empty mappings have none."""
    found = leaves(config, lists=False)
    return {dotted(path): value for path, value in found if not isinstance(value, Mapping)}


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a dotted name matches one of the patterns, such as `trainer.max_*`."""
    return bool(_any_of(patterns).match(name))


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))
