"""Config files as they are chosen, each choice composed once, each fault with its override."""

import difflib
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import yaml
from hydra import compose
from hydra.errors import MissingConfigException
from omegaconf import DictConfig

from workbench.config import hydra_adapter
from workbench.config.faults import (
    PLUGINS,
    SEARCHPATH,
    find_file,
    first_line,
    folders,
    inner_error,
    key_of,
    needs,
    reason,
    several,
    shortened,
    unreadable,
)
from workbench.errors import ConfigError

PRESETS = ("debug", "experiment", "study")
"""Groups whose files are settings of the whole config; by default none of them is chosen."""


class Chosen(NamedTuple):
    """The config that a choice of files composes, pickled and plain; the rest as in `Composed`."""

    pickled: bytes
    written: Any
    fitting: list[str]
    problems: list[str]


class Files:
    """The files of a config and its groups, and what choices of them compose.

    Args:
        config_name: the config that is composed.
        parse: reads overrides.
    """

    def __init__(self, config_name: str, parse: Callable[[Sequence[str]], list[Any]]) -> None:
        self.config_name = config_name
        self._parse = parse
        self._groups: dict[tuple[str, ...], Callable[[str], list[str]]] = {}
        self._chosen: dict[tuple[str, ...], Chosen] = {}
        self._defaults: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def defaults(self, choices: tuple[str, ...]) -> list[tuple[str, str]]:
        """The files that a choice composes, in their order: the path of each, and its package."""
        if choices not in self._defaults:
            self._defaults[choices] = hydra_adapter.defaults_of(self.config_name, choices)
        return self._defaults[choices]

    def options(self, group: str, searched: tuple[str, ...] = ()) -> list[str]:
        """The files of a config group; none, if there is no such group."""
        if searched not in self._groups:
            self._groups[searched] = hydra_adapter.groups_of(self.config_name, searched)
        return self._groups[searched](group)

    def are_chosen_by(self, override: Any, searched: tuple[str, ...]) -> bool:
        """Whether an override chooses a file, and does not set a value."""
        key = override.key_or_group
        if key == SEARCHPATH:
            return True
        value = None if override.is_sweep_override() else hydra_adapter.value_of(override)
        return not isinstance(value, dict) and "." not in key and bool(self.options(key, searched))

    def choose(self, choices: tuple[str, ...]) -> Chosen:
        """Compose a choice of files, without those that do not fit.

        Raises:
            ConfigError: if a config file is at fault, or a plugin is not installed.
        """
        if choices not in self._chosen:
            self._chosen[choices] = self._find_choice(choices)
        return self._chosen[choices]

    def _find_choice(self, choices: tuple[str, ...]) -> Chosen:
        searched = tuple(choice for choice in choices if key_of(choice) == SEARCHPATH)
        faults = {choice: self._fault_of_choice(choice, searched) for choice in choices}
        fitting = [choice for choice, fault in faults.items() if not fault]
        problems = [f"{choice}: {fault}" for choice, fault in faults.items() if fault]
        try:
            config = self._compose(fitting)
        except Exception:  # of whatever type Hydra's own code ends in
            config, fitting, more = self._one_by_one(fitting, searched)
            problems += more
        return Chosen(pickle.dumps(config), hydra_adapter.written(config), fitting, problems)

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        return compose(self.config_name, [*overrides], return_hydra_config=True)

    def _fault_of_choice(self, choice: str, searched: tuple[str, ...]) -> str | None:
        """The fault in the choice of a file, as far as a look at the group tells."""
        (override,) = self._parse([choice])
        group = override.key_or_group
        if override.is_sweep_override():
            return several(override)
        if group == SEARCHPATH or override.is_delete():
            return None
        value, options = hydra_adapter.value_of(override), self.options(group, searched)
        if not isinstance(value, str | list):
            return f"should be one of {', '.join(options)}"
        for name in [value] if isinstance(value, str) else map(str, value):
            if name in options or "/" in name:
                continue
            if extra := PLUGINS.get(f"{group}/{name}"):
                raise ConfigError(f"{choice}: {needs(extra)}")
            nearest = difflib.get_close_matches(name, options, 1)
            meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(options)}"
            return f"there is no {group} of that name; {meant}"
        return None

    def _one_by_one(
        self, choices: Sequence[str], searched: tuple[str, ...]
    ) -> tuple[DictConfig, list[str], list[str]]:
        """Compose with those choices with which that is possible."""
        try:
            config = self._compose(searched)
        except Exception as error:
            raise ConfigError(self._fault_of_files(error, searched)) from error
        fitting, left = list(searched), [c for c in choices if c not in searched]
        errors: dict[str, Exception] = {}
        for choice in left * 2:  # the group of one may be there by another's choice
            if choice in fitting:
                continue
            try:
                config = self._compose([*fitting, choice])
            except Exception as error:
                errors[choice] = error
            else:
                fitting.append(choice)
        problems = []
        for choice in left:
            if choice not in fitting:
                known = config.hydra.runtime.choices
                fault = self._fault_of_one(choice, errors[choice], known, searched)
                problems.append(f"{choice}: {fault}")
        return config, [c for c in choices if c in fitting], problems

    def _fault_of_one(
        self, choice: str, error: Exception, known: Any, searched: tuple[str, ...]
    ) -> str:
        (override,) = self._parse([choice])
        group = override.key_or_group
        if override.is_add() and group in known:
            return "leave out the +, as there is one to choose already"
        if not override.is_add() and override.get_key_element().lstrip("~") not in known:
            return f"no file chooses a {group}; write +{choice} to add one"
        if isinstance(error, RecursionError):
            return "includes itself in its defaults list"
        if override.is_force_add():
            return first_line(error)
        name = f"{group}/{hydra_adapter.value_of(override)}"
        raise ConfigError(self._fault_of_files(error, searched, name, choice)) from error

    def _fault_of_files(
        self, error: Exception, searched: tuple[str, ...], name: str = "", choice: str = ""
    ) -> str:
        """The fault of config files that do not compose.

        Args:
            error: what they end in.
            searched: the override of `hydra.searchpath`, if there is one.
            name: the file that was chosen when they did; by default the whole config's.
            choice: the override that chose it.
        """
        if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
            return unreadable(error, folders(searched))
        missing = str(getattr(error, "missing_cfg_file", ""))
        if isinstance(error, MissingConfigException) and missing in PLUGINS:
            return f"{choice or self.config_name}: {needs(PLUGINS[missing])}"
        if not name and not find_file(self.config_name, searched).is_file():
            return f"--config-name {self.config_name}: there is no such file"
        file = shortened(find_file(name or self.config_name, searched))
        place = getattr(inner_error(error), "full_key", None)
        prefix = f"{file}: {place}: " if place else f"{file}: "
        return f"{prefix}{reason(error).removeprefix(f'In {name!r}: ')}"
