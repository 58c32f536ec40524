"""Overrides and what Hydra composes with them, each fault with its override."""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from workbench.errors import ConfigError
from workbench.project import the_project

PLUGINS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}
"""Configs that Hydra's plugins bring, and the extra that installs each plugin."""

IN_A_FILE = re.compile(r"In '(?P<file>[^']+)': (?P<fault>.*)")
"""How Hydra begins to say that a config file is at fault."""

NO_CHOICE = "Config group override must be"
"""How Hydra says that something else than a file's name was chosen."""

PRESETS = ("debug", "experiment", "study")
"""Groups whose files are settings of the whole config."""

TWICE = "Multiple values for"
"""How Hydra begins to say that a group is chosen twice."""


OF_GRAMMAR = re.compile(r"no viable|mismatched|extraneous|missing|token recognition|Lexer|Ambig")
"""How the messages of Hydra's grammar begin, which name its rules."""


def parse(overrides: list[str]) -> list[Any]:
    """Overrides as Hydra's grammar reads them.

    Raises:
        ConfigError: lists those that it cannot read.
    """
    loader = GlobalHydra.instance().config_loader()  # for `glob`, which looks for files
    parser = OverridesParser.create(loader)
    parsed, faults = [], []
    for override in overrides:
        try:
            parsed += parser.parse_overrides([override])
        except (OverrideParseException, ValueError) as error:
            faults.append(f"{override}: {_unparsed(override, error)}")
        else:
            if not key_of(override):
                faults.append(f"{override}: names no setting: write name=value")
    if faults:
        raise ConfigError("\n".join(faults))
    return parsed


def _unparsed(override: str, error: Exception) -> str:
    if "=" not in override:
        return "is no setting: write name=value"
    if " =" in override or "= " in override:
        return "leave out the spaces around the =: write name=value"
    key = key_of(override)
    if not re.fullmatch(r"(?!\d)[\w/$-]+(\.[\w/$-]+)*(@[\w.:-]*)?", key, re.ASCII):
        return f"{key or 'nothing'} is not the name of a setting: write name=value"
    said = _first_line(error.__cause__ or error)
    if isinstance(error, ValueError) or not OF_GRAMMAR.search(str(error)):
        return said
    return "cannot be read: close each bracket and quote, and quote a text that holds such signs"


IN_PLAIN = {
    r"field '.*' is not Optional": "cannot be null; leave it out",
    r"Key '.*' not in '\w+'": "Hydra has no such setting",
    r"Cannot assign \w+ to Dict": "should be a mapping",
    r"Invalid loaded object type": "is one value, and should hold name: value",
}
"""What OmegaConf says with names of its own, and what it means."""


class Composed(NamedTuple):
    """What became of overrides.

    Args:
        config: what they compose.
        fitting: those that it was composed with.
        added: the settings among them that no file has. They were added, with `++`: each may be
            an argument that only the signature of its target names, and the check knows.
        problems: what is wrong with the other overrides.
    """

    config: DictConfig
    fitting: list[str]
    added: set[str]
    problems: list[str]


def compose_fitting(config_name: str, overrides: list[str]) -> Composed:
    """Compose without the overrides that do not fit.

    Raises:
        ConfigError: if a config file is at fault, or nobody can tell which override is, or a
            plugin is not installed.
    """
    fitting, added, faults = list(overrides), set(), {}
    while True:
        try:
            config = compose(config_name, fitting, return_hydra_config=True)
            break
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(_unreadable(error, folders(overrides))) from error
        except Exception as error:  # of whatever type Hydra's own code ends in
            if extra := PLUGINS.get(str(getattr(error, "missing_cfg_file", ""))):
                needs = f"needs what is not installed here: pip install -e '.[{extra}]'"
                raise ConfigError(f"{' '.join(overrides)}: {needs}") from error
            if _is_missing(config_name, error):
                raise ConfigError(f"--config-name {config_name}: there is no such file") from error
            culprit = next((o for o in fitting if _is_about(o, error)), None)
            if culprit is None and (found := IN_A_FILE.match(str(error))):
                raise ConfigError(_fault_of_file(found, error, overrides)) from error
            culprit = culprit or _culprit(config_name, fitting, error)
            if culprit is None:
                raise ConfigError(f"configs/{config_name}.yaml: {_reason(error)}") from error
            if _is_unknown(error) and not culprit.startswith("hydra."):
                fitting[fitting.index(culprit)] = f"++{culprit}"
                added.add(key_of(culprit))
                continue
            fitting.remove(culprit)
            faults[culprit] = error
    problems = [_explain(culprit, error) for culprit, error in faults.items()]
    return Composed(config, fitting, added, problems)


def folders(overrides: list[str]) -> list[Path]:
    """Where config files are looked for."""
    typed = [o.partition("=")[2] for o in overrides if key_of(o) == "hydra.searchpath"]
    places = re.findall(r"file://([^'\",\]]+)", " ".join(typed))
    return [the_project().configs, *map(Path, places)]


def _is_missing(config_name: str, error: Exception) -> bool:
    missing = isinstance(error, MissingConfigException) and error.missing_cfg_file
    return missing in (config_name, f"{config_name}.yaml") and "primary" in str(error)


def _culprit(config_name: str, overrides: list[str], error: Exception) -> str | None:
    """The override without which there is no such error."""
    for i, override in enumerate(overrides):
        try:
            compose(config_name, overrides[:i] + overrides[i + 1 :], return_hydra_config=True)
        except Exception as other:
            if str(other) == str(error):
                continue
        return override
    return None


def _reason(error: BaseException) -> str:
    """Why something does not compose, in a line."""
    cause = error.__cause__
    if isinstance(error, RecursionError):
        return "includes itself in its defaults list"
    if isinstance(error, KeyError) and not isinstance(error, OmegaConfBaseException):
        return f"{error.args[0]} is not set in the environment"
    if isinstance(error, AssertionError | AttributeError | TypeError):
        return "does not fit there"
    return _in_plain(_first_line(cause if isinstance(cause, OmegaConfBaseException) else error))


def _unreadable(error: yaml.YAMLError | UnicodeDecodeError, roots: list[Path]) -> str:
    """Which config file is not YAML, and where."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{_shortened(mark.name)}, line {mark.line + 1}: {error.problem}"
    for path in (path for root in roots for path in root.rglob("*.yaml")):
        try:
            path.read_text("utf-8")
        except UnicodeDecodeError as fault:
            return f"{_shortened(str(path))}: is not text in UTF-8: {fault}"
    return f"A config file cannot be read: {_first_line(error)}"


def _fault_of_file(found: re.Match[str], error: Exception, overrides: list[str]) -> str:
    inner = error.__context__
    place = getattr(inner, "full_key", None)
    fault = _first_line(inner) if isinstance(inner, OmegaConfBaseException) else found["fault"]
    file = file_of(found["file"], overrides)
    return f"{file}: {f'{place}: ' if place else ''}{_in_plain(fault)}"


def file_of(name: str, overrides: list[str]) -> str:
    """The config file of that name, such as `model/vae`."""
    files = [root / f"{name}.yaml" for root in folders(overrides)]
    return _shortened(str(next((file for file in files if file.is_file()), files[0])))


def _in_plain(fault: str) -> str:
    return next((plain for known, plain in IN_PLAIN.items() if re.match(known, fault)), fault)


def _shortened(path: str) -> str:
    return path.removeprefix(f"{the_project().root}/")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_about(override: str, error: Exception) -> bool:
    key, _, value = override.lstrip("+~").partition("=")
    if NO_CHOICE in str(error):
        return (the_project().configs / key).is_dir() and (
            value == "null" or not value[:1].isalpha()
        )
    text = IN_A_FILE.sub(r"\g<fault>", str(error))
    named = re.search(rf"{TWICE} (\S+)\.", text) or re.search(
        r"'([^']+)'", text.partition("Could not find")[2] or text
    )
    if named is None:
        return False
    group, _, choice = named[1].rpartition("/")
    of_a_list = group == key and value.startswith("[") and choice in value
    return named[1] in (key, f"{key}/{value}", override) or of_a_list


def _explain(override: str, error: Exception) -> str:
    key, _, value = override.lstrip("+~").partition("=")
    if isinstance(error, MissingConfigException):
        options = list(error.options or []) or _choices(key)
        nearest = difflib.get_close_matches(value, options, 1)
        meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(options)}"
        return f"{override}: there is no {key} of that name; {meant}"
    if NO_CHOICE in str(error) and key:
        return f"{override}: should be one of {', '.join(_choices(key))}"
    if str(error).startswith(TWICE):
        return f"{override}: leave out the +, as there is one to choose already"
    if str(error).startswith("Ambiguous value"):
        return f"{override}: add -m to run each of these; a list is [a,b], and a text 'a,b'"
    if "requires --multirun" in str(error):
        return f"{override}: add -m to run each of these"
    return f"{override}: {_reason(error)}"


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (the_project().configs / group).glob("*.yaml"))


def choose_none(argument: str) -> str | None:
    """`logger=null` → `logger=none`; None for `experiment=null`, of which none is the default."""
    group, _, value = argument.partition("=")
    if value != "null" or not group or not (the_project().configs / group).is_dir():
        return argument
    if (the_project().configs / group / "none.yaml").is_file():
        return f"{group}=none"
    return None if group in PRESETS else argument


def _is_unknown(error: Exception) -> bool:
    """Whether an override is for a setting that no file has."""
    return "not in" in str(error.__cause__) and "override" in str(error)


def key_of(override: str) -> str:
    """`++a.b=c` → `a.b`."""
    return override.lstrip("+~").partition("=")[0]
