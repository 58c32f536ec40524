"""Derive the jobs of a sweep from a composed one that differs from them only in plain values.

OmegaConf takes milliseconds to set, resolve and convert a config. Where it is clear which settings
copy a value, the value is set in the plain, resolved config of the composed job instead.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workbench.config.naming import name_of_job
from workbench.config.nested import KeyPath, leaves
from workbench.project import Config
from workbench.training.launch import Launch

COPY = re.compile(r"\$\{([\w.]+)\}")
"""An interpolation whose value is that of another setting."""

NAME = re.compile(r"[\w.]+")
JOB_SPECIFIC = re.compile(r"\$\{\.|hydra[:.](?!runtime\b)")
"""Interpolations that may differ between jobs even if all values they mention are the same."""


class DerivedJob(NamedTuple):
    """A job that was derived, not composed.

    Args:
        unresolved: its config, with the interpolations.
        launch: the job, with its resolved config.
        arguments: its overrides, for a launcher.
    """

    unresolved: Config
    launch: Launch
    arguments: list[str]


class JobTemplate:
    """A composed job, from which others are derived.

    Args:
        overrides: its overrides, parsed; each sets a value or chooses a file.
        arguments: the same overrides, for a launcher.
        unresolved: its config, with the interpolations.
        folder: Hydra's settings that name the folder of a job, with the interpolations.
        launch: the job.
    """

    def __init__(
        self,
        overrides: Sequence[Any],
        arguments: Sequence[str],
        unresolved: Config,
        folder: Sequence[str],
        launch: Launch,
    ) -> None:
        self.overrides, self.arguments = overrides, arguments
        self.unresolved, self.launch = unresolved, launch
        self._folder = [text for text in folder if "${" in text]
        self._paths: dict[tuple[str, ...], dict[str, list[KeyPath]] | None] = {}

    def derive(self, overrides: Sequence[Any]) -> DerivedJob | None:
        """The job with these overrides; None if it has to be composed."""
        if len(overrides) != len(self.overrides):
            return None
        pairs = zip(self.overrides, overrides, strict=True)
        changed = [(old, new) for old, new in pairs if old.input_line != new.input_line]
        if not all(_differ_in_value(self.unresolved, old, new) for old, new in changed):
            return None
        keys = tuple(new.key_or_group for _, new in changed)
        if keys not in self._paths:
            self._paths[keys] = self._find_paths(keys)
        if (paths := self._paths[keys]) is None:
            return None
        unresolved, config = self.unresolved, self.launch.config
        for _, new in changed:
            value = new.value()
            unresolved = _replaced_at(unresolved, tuple(new.key_or_group.split(".")), value)
            for path in paths[new.key_or_group]:
                config = _replaced_at(config, path, value)
        texts = {
            o.input_line.removeprefix("++"): n.input_line.removeprefix("++") for o, n in changed
        }
        texts |= {f"++{old}": f"++{new}" for old, new in texts.items()}
        arguments = [texts.get(text, text) for text in self.arguments]
        launched = [texts.get(text, text) for text in self.launch.overrides]
        launch = self.launch._replace(config=config, overrides=launched)
        if not launch.is_named:
            launch = launch._replace(name=name_of_job(config, launched))
        return DerivedJob(unresolved, launch, arguments)

    def _find_paths(self, keys: Sequence[str]) -> dict[str, list[KeyPath]] | None:
        """The paths of each setting and of its copies; None if anything else depends on one."""
        paths: dict[str, list[KeyPath]] = {key: [tuple(key.split("."))] for key in keys}
        source = dict(zip(keys, keys, strict=True))  # dotted path → the key whose value it has
        texts = {".".join(map(str, path)): text for path, text in leaves(self.unresolved)}
        others = {name: t for name, t in texts.items() if isinstance(t, str) and "${" in t}
        while dependent := [name for name, text in others.items() if _mentions(text, source)]:
            for name in dependent:
                copy = COPY.fullmatch(others.pop(name))
                if not copy or copy[1] not in source:
                    return None
                source[name] = source[copy[1]]
                paths[source[name]].append(tuple(name.split(".")))
        if any(JOB_SPECIFIC.search(text) for text in (*others.values(), *self._folder)):
            return None
        return None if any(_mentions(text, source) for text in self._folder) else paths


def _differ_in_value(unresolved: Config, old: Any, new: Any) -> bool:
    """Whether two overrides give one setting plain values of the same type."""
    if old.get_key_element() != new.get_key_element() or old.type != new.type or old.is_delete():
        return False
    before, after = old.value(), new.value()
    node: Any = unresolved
    for name in old.key_or_group.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    same = type(node) is type(before) is type(after) and node == before
    return same and all(map(_is_plain, after if isinstance(after, list) else [after]))


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and "$" not in value and value != "???"
    return isinstance(value, int | float)


def _mentions(text: str, names: Mapping[str, str]) -> bool:
    """Whether an interpolation may refer to one of the settings, to a part of one or around one."""
    return any(
        f"{word}.".startswith(f"{name}.") or f"{name}.".startswith(f"{word}.")
        for word in NAME.findall(text)
        for name in names
    )


def _replaced_at(node: Any, path: KeyPath, value: Any) -> Any:
    """Nested dicts and lists with another value at a path; unchanged parts are shared."""
    if not path:
        return value
    if isinstance(node, list):
        i = int(path[0])
        return [*node[:i], _replaced_at(node[i], path[1:], value), *node[i + 1 :]]
    return {**node, path[0]: _replaced_at(node[path[0]], path[1:], value)}
