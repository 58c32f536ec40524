"""Compose config files: each choice of files once, each problem with its override."""

import difflib
import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import yaml
from hydra import compose
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf, flag_override

from workbench.config.nested import dotted, leaves
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter
from workbench.jobs.locate import SEARCHPATH, find_file, key_of, search_folders, shorten_path
from workbench.jobs.messages import (
    PLUGINS,
    compose_message,
    needs_extra,
    omegaconf_error,
    several_values,
    unreadable_file,
)

PRESETS = ("debug", "experiment", "study")
"""Groups whose files set values in the whole config; by default none of them is chosen."""


class ComposedFiles(NamedTuple):
    """The config that a choice of files composes, pickled and plain; the rest as in `Composed`."""

    pickled: bytes
    unresolved: Any
    applied: list[str]
    problems: list[str]


class ConfigFiles:
    """The files of a config and its groups, and the configs that choices of them compose.

    The argument `searchpath` of its methods is the override of `hydra.searchpath`, if there is one.
    """

    def __init__(self, config_name: str) -> None:
        self.config_name = config_name
        self._groups: dict[tuple[str, ...], Callable[[str], list[str]]] = {}
        self._composed: dict[tuple[str, ...], ComposedFiles] = {}
        self._defaults: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def defaults(self, choices: tuple[str, ...]) -> list[tuple[str, str]]:
        """The files that a choice composes, in order, each as its path and its package."""
        if choices not in self._defaults:
            self._defaults[choices] = hydra_adapter.defaults_of(self.config_name, choices)
        return self._defaults[choices]

    def options(self, group: str, searchpath: tuple[str, ...] = ()) -> list[str]:
        """The names of the files in a config group; empty if there is no such group."""
        if searchpath not in self._groups:
            self._groups[searchpath] = hydra_adapter.groups_of(self.config_name, searchpath)
        return self._groups[searchpath](group)

    def is_choice(self, override: Any, searchpath: tuple[str, ...]) -> bool:
        """Whether an override chooses files, rather than sets a value."""
        key = override.key_or_group
        if key == SEARCHPATH:
            return True
        value = None if override.is_sweep_override() else override.value()
        return (
            not isinstance(value, dict) and "." not in key and bool(self.options(key, searchpath))
        )

    def compose(self, choices: tuple[str, ...]) -> ComposedFiles:
        """Compose a choice of files, without those that do not fit.

        Raises:
            ConfigError: if a config file is wrong, or a plugin is not installed.
        """
        if choices not in self._composed:
            self._composed[choices] = self._compose_fitting(choices)
        return self._composed[choices]

    def _compose_fitting(self, choices: tuple[str, ...]) -> ComposedFiles:
        searchpath = tuple(choice for choice in choices if key_of(choice) == SEARCHPATH)
        found = {choice: self._find_problem(choice, searchpath) for choice in choices}
        applied = [choice for choice, problem in found.items() if not problem]
        problems = [f"{choice}: {problem}" for choice, problem in found.items() if problem]
        try:
            config = self._compose(applied)
        except Exception:  # Hydra's own code raises errors of many types
            config, applied, further = self._compose_one_by_one(applied, searchpath)
            problems += further
        unresolved = hydra_adapter.unresolved(config)
        return ComposedFiles(pickle.dumps(config), unresolved, applied, problems)

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        config = compose(self.config_name, [*overrides], return_hydra_config=True)
        with flag_override(config, "readonly", False):
            for path, value in leaves(hydra_adapter.unresolved(config)):
                if isinstance(value, str) and value.startswith("~/"):
                    OmegaConf.update(config, dotted(path), os.path.expanduser(value))
        return config

    def _find_problem(self, choice: str, searchpath: tuple[str, ...]) -> str | None:
        """The problem of a choice that shows without composing: its group has no such file."""
        override = hydra_adapter.parse_override(choice)
        group = override.key_or_group
        if override.is_sweep_override():
            return several_values(override)
        if group == SEARCHPATH or override.is_delete():
            return None
        value, options = override.value(), self.options(group, searchpath)
        if not isinstance(value, str | list):
            return f"should be one of {', '.join(options)}"
        for name in [value] if isinstance(value, str) else map(str, value):
            if name in options or "/" in name:
                continue
            if extra := PLUGINS.get(f"{group}/{name}"):
                raise ConfigError(f"{choice}: {needs_extra(extra)}")
            nearest = difflib.get_close_matches(name, options, 1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(options)}"
            return f"there is no {group} of that name; {hint}"
        return None

    def _compose_one_by_one(
        self, choices: Sequence[str], searchpath: tuple[str, ...]
    ) -> tuple[DictConfig, list[str], list[str]]:
        """Compose as many of the choices as possible: the config, those applied, the problems."""
        try:
            config = self._compose(searchpath)
        except Exception as error:
            raise ConfigError(self._message_about_files(error, searchpath)) from error
        applied, others = list(searchpath), [c for c in choices if c not in searchpath]
        errors: dict[str, Exception] = {}
        for choice in others * 2:  # twice, as a choice may need a group that a later one adds
            if choice in applied:
                continue
            try:
                config = self._compose([*applied, choice])
            except Exception as error:
                errors[choice] = error
            else:
                applied.append(choice)
        groups = config.hydra.runtime.choices
        problems = [
            f"{choice}: {self._message_about_choice(choice, errors[choice], groups, searchpath)}"
            for choice in others
            if choice not in applied
        ]
        return config, [c for c in choices if c in applied], problems

    def _message_about_choice(
        self, choice: str, error: Exception, groups: Any, searchpath: tuple[str, ...]
    ) -> str:
        override = hydra_adapter.parse_override(choice)
        group = override.key_or_group
        if override.is_add() and group in groups:
            return "leave out the +, as the config has this group already"
        if not override.is_add() and override.get_key_element().lstrip("~") not in groups:
            return f"no file chooses a {group}; write +{choice} to add one"
        if isinstance(error, RecursionError) or override.is_force_add():
            return compose_message(error)
        name = f"{group}/{override.value()}"
        raise ConfigError(self._message_about_files(error, searchpath, name, choice)) from error

    def _message_about_files(
        self, error: Exception, searchpath: tuple[str, ...], name: str = "", choice: str = ""
    ) -> str:
        """The message about config files that do not compose.

        Args:
            error: what composing them raised.
            searchpath: the override of `hydra.searchpath`, if there is one.
            name: the file that was chosen last; by default the primary config.
            choice: the override that chose it.
        """
        if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
            return unreadable_file(error, search_folders(searchpath))
        missing = str(getattr(error, "missing_cfg_file", ""))
        if isinstance(error, MissingConfigException) and missing in PLUGINS:
            return f"{choice or self.config_name}: {needs_extra(PLUGINS[missing])}"
        if not name and not find_file(self.config_name, searchpath).is_file():
            return f"--config-name {self.config_name}: there is no such file"
        file = shorten_path(find_file(name or self.config_name, searchpath))
        place = getattr(omegaconf_error(error), "full_key", None)
        prefix = f"{file}: {place}: " if place else f"{file}: "
        return f"{prefix}{compose_message(error).removeprefix(f'In {name!r}: ')}"
