"""Jobs of a sweep that differ from one that was composed in the values of settings alone.

OmegaConf takes milliseconds to set, resolve and convert a config. Where what a setting is copied to
is plain to see, the values are set in the plain result of the first job instead.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from workbench.config import hydra_adapter
from workbench.config.launch import Launch
from workbench.config.naming import name_of_job
from workbench.project import Config

COPY = re.compile(r"\$\{([\w.]+)\}")
"""An interpolation that is the value of another setting."""

NAME = re.compile(r"[\w.]+")
OF_THE_JOB = re.compile(r"\$\{\.|hydra[:.](?!runtime\b)")
"""Interpolations that may differ between jobs for other reasons than their values."""


class JobValues(NamedTuple):
    """A job, as plain values.

    Args:
        written: its config with interpolations as they are written.
        config: the same, resolved.
        launch: the job.
        arguments: its overrides, for a launcher.
    """

    written: Config
    config: Config
    launch: Launch
    arguments: list[str]


class Pattern:
    """A job that was composed, after which others are made.

    Args:
        overrides: its, parsed; each set a value or chose a file.
        arguments: the same as a launcher is given them.
        written: its config, with interpolations as they are written.
        folder: the settings of Hydra's that name a job's folder, as they are written.
        launch: the job.
    """

    def __init__(
        self,
        overrides: Sequence[Any],
        arguments: Sequence[str],
        written: Config,
        folder: Sequence[str],
        launch: Launch,
    ) -> None:
        self.overrides, self.arguments = overrides, arguments
        self.written, self.launch = written, launch
        self._folder = [text for text in folder if "${" in text]
        self._places: dict[tuple[str, ...], dict[str, list[tuple[str, ...]]] | None] = {}

    def job(self, overrides: Sequence[Any]) -> JobValues | None:
        """The job of these overrides; None where it has to be composed."""
        if len(overrides) != len(self.overrides):
            return None
        pairs = zip(self.overrides, overrides, strict=True)
        changed = [(old, new) for old, new in pairs if old.input_line != new.input_line]
        if not all(_is_alike(self.written, old, new) for old, new in changed):
            return None
        keys = tuple(new.key_or_group for _, new in changed)
        if keys not in self._places:
            self._places[keys] = self._find_places(keys)
        if (places := self._places[keys]) is None:
            return None
        written, config = self.written, self.launch.config
        for _, new in changed:
            value = hydra_adapter.value_of(new)
            written = _with(written, tuple(new.key_or_group.split(".")), value)
            for place in places[new.key_or_group]:
                config = _with(config, place, value)
        texts = {old.input_line: new.input_line for old, new in changed}
        texts |= {old.removeprefix("++"): new.removeprefix("++") for old, new in texts.items()}
        arguments = [_replaced(text, texts) for text in self.arguments]
        launched = [_replaced(text, texts) for text in self.launch.overrides]
        launch = self.launch._replace(config=config, overrides=launched)
        if not launch.is_named:
            launch = launch._replace(name=name_of_job(config, launched))
        return JobValues(written, config, launch, arguments)

    def _find_places(self, keys: Sequence[str]) -> dict[str, list[tuple[str, ...]]] | None:
        """The places of settings' values and their copies; None if more depends on them."""
        places = {key: [tuple(key.split("."))] for key in keys}
        moved = dict(zip(keys, keys, strict=True))  # a place → the key whose value it has
        left = {".".join(path): text for path, text in _interpolations(self.written, ())}
        while found := [n for n, text in left.items() if _mentions(text, moved)]:
            for name in found:
                copied = COPY.fullmatch(left.pop(name))
                if not copied or copied[1] not in moved:
                    return None
                moved[name] = moved[copied[1]]
                places[moved[name]].append(tuple(name.split(".")))
        is_told = any(OF_THE_JOB.search(text) for text in (*left.values(), *self._folder))
        return None if is_told or any(_mentions(text, moved) for text in self._folder) else places


def _is_alike(written: Config, old: Any, new: Any) -> bool:
    """Whether two overrides set plain values, of one type, at the same place."""
    if old.get_key_element() != new.get_key_element() or old.type != new.type or old.is_delete():
        return False
    before, after = hydra_adapter.value_of(old), hydra_adapter.value_of(new)
    node: Any = written
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


def _interpolations(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, Mapping | list):
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        for name, value in items:
            yield from _interpolations(value, (*path, str(name)))
    elif isinstance(node, str) and "${" in node:
        yield path, node


def _mentions(text: str, names: Mapping[str, str]) -> bool:
    """Whether an interpolation may be about one of some settings, or a part or a whole of one."""
    return any(
        f"{word}.".startswith(f"{name}.") or f"{name}.".startswith(f"{word}.")
        for word in NAME.findall(text)
        for name in names
    )


def _with(node: Any, path: tuple[str, ...], value: Any) -> Any:
    """A copy of nested dicts, as far as it differs."""
    if not path:
        return value
    if isinstance(node, list):
        place = int(path[0])
        return [*node[:place], _with(node[place], path[1:], value), *node[place + 1 :]]
    return {**node, path[0]: _with(node[path[0]], path[1:], value)}


def _replaced(text: str, texts: Mapping[str, str]) -> str:
    if text in texts:
        return texts[text]
    plain = text.removeprefix("++")
    return f"++{texts[plain]}" if text != plain and plain in texts else text
