"""Compose the config of a job from its overrides; each problem is reported with its override."""

import pickle
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.config.nested import leaves
from workbench.config.problem import raise_all
from workbench.jobs import hydra_adapter
from workbench.jobs.files import PRESETS, ConfigFiles
from workbench.jobs.locate import SEARCHPATH, key_of
from workbench.jobs.messages import compose_message, several_values, syntax_message
from workbench.project import the_project


class Composed(NamedTuple):
    """A composed config, without the overrides that do not fit.

    Args:
        config: the config, with Hydra's own settings.
        applied: the overrides that fit.
        choices: those of `applied` that choose files.
        added: keys in `applied` that no config file has. They are added with `++`, because each
            may be an argument that only the signature of its target names; the check decides.
        problems: messages about the overrides that do not fit.
    """

    config: DictConfig
    applied: list[str]
    choices: tuple[str, ...]
    added: set[str]
    problems: list[str]


class Composer:
    """Composes configs: each choice of files once, other values set on copies of the result."""

    def __init__(self, config_name: str) -> None:
        self._parsed: dict[str, Any] = {}
        self.files = ConfigFiles(config_name)

    def parse(self, overrides: Sequence[str]) -> list[Any]:
        """Parse overrides by Hydra's grammar.

        Raises:
            ConfigError: lists the overrides that cannot be parsed.
        """
        problems = []
        for text in overrides:
            if text in self._parsed:
                continue
            try:
                self._parsed[text] = hydra_adapter.parse_override(text)
            except (HydraException, ValueError) as error:
                problems.append(f"{text}: {syntax_message(text, error)}")
            else:
                if not key_of(text):
                    problems.append(f"{text}: names no setting: write name=value")
        raise_all(problems)
        return [self._parsed[text] for text in overrides]

    def compose(self, overrides: Sequence[str], number: int | None = None) -> Composed:
        """Compose the config of a job, with its number if it is one of a sweep.

        Raises:
            ConfigError: if a config file is wrong, or a plugin is not installed.
        """
        parsed = self.parse(overrides)
        searchpath = tuple(o.input_line for o in parsed if o.key_or_group == SEARCHPATH)
        choices = tuple(o.input_line for o in parsed if self.files.is_choice(o, searchpath))
        chosen = self.files.compose(choices)
        config: DictConfig = pickle.loads(chosen.pickled)  # five times as fast as copy.deepcopy
        applied, added = [], set()
        problems = list(chosen.problems)
        for override in parsed:
            text = override.input_line
            if text in choices:
                applied += [override] if text in chosen.applied else []
                continue
            key, value = override.key_or_group, override.value()
            given = [".".join(map(str, path)) for path, _ in leaves(value, (key,), lists=False)]
            new = [name for name in given if is_absent(name, chosen.unresolved)]
            if override.is_delete():
                new = []
            if any(hydra_adapter.is_closed(config, name) for name in new):
                problems.append(f"{text}: Hydra has no such setting")
                continue
            if new and key == text.partition("=")[0]:
                added.add(key)
                text = f"++{text}"
            (setting,) = self.parse([text])
            if problem := _set(config, setting):
                problems.append(f"{override.input_line}: {problem}")
            else:
                applied.append(setting)
        hydra_adapter.record_overrides(config, applied, number)
        hydra_adapter.set_hydra_config(config)
        texts = [override.input_line for override in applied]
        return Composed(config, texts, tuple(chosen.applied), added, problems)


def is_absent(key: str, unresolved: Any) -> bool:
    """Whether a config of plain values and interpolations lacks a setting of that dotted name."""
    for name in key.split("."):
        if isinstance(unresolved, dict):
            entries = {str(entry): value for entry, value in unresolved.items()}
            if name not in entries:
                return True
            unresolved = entries[name]
        else:  # the rest of the key may lie behind an interpolation, or index a list
            return not isinstance(unresolved, str | list)
    return False


def force_add(overrides: Sequence[str], added: Collection[str]) -> list[str]:
    """Prefix the overrides whose keys no config file has: `a.b=c` → `++a.b=c`."""
    return [f"++{o}" if o.partition("=")[0] in added else o for o in overrides]


def choose_none(argument: str) -> str:
    """Replace null as the choice of a group: `logger=null` → `logger=none`, if that file exists.

    The groups in `PRESETS` take an empty list: `experiment=null` → `experiment=[]`.
    """
    group, _, value = argument.partition("=")
    names = value.split(",")
    none = "[]" if group in PRESETS else "none"
    if "null" not in names or (
        none == "none" and not (the_project().configs / group / "none.yaml").is_file()
    ):
        return argument
    return f"{group}={','.join(none if name == 'null' else name for name in names)}"


def _set(config: DictConfig, override: Any) -> str | None:
    """Set a value in a config; return what is wrong if it does not fit there."""
    if override.is_sweep_override():
        return several_values(override)
    key, value = override.key_or_group, override.value()
    try:
        hydra_adapter.set_value(config, override)
    except (HydraException, OmegaConfBaseException) as error:
        node = OmegaConf.select(config, key, throw_on_missing=False)
        if isinstance(node, DictConfig) and not isinstance(value, dict | type(None)):
            return "should be a mapping"
        return compose_message(error)
    except (AssertionError, AttributeError, TypeError, ValueError):
        return "does not fit there"
    return None
