"""Overrides and what Hydra composes with them, each fault with its override."""

import difflib
import re
from typing import Any, NamedTuple

import yaml
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from musigma.errors import ConfigError
from musigma.paths import CONFIGS

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


def parse(overrides: list[str]) -> list[Any]:
    """Overrides as Hydra's grammar reads them.

    Raises:
        ConfigError: if one is none.
    """
    try:
        loader = GlobalHydra.instance().config_loader()  # for `glob`, which looks for files
        return OverridesParser.create(loader).parse_overrides(overrides)
    except OverrideParseException as error:
        has_value = "=" in str(error.override)
        fault = str(error).splitlines()[0] if has_value else "is no setting: write name=value"
        raise ConfigError(f"{error.override}: {fault}") from error


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
            raise ConfigError(_unreadable(error)) from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if extra := PLUGINS.get(str(getattr(error, "missing_cfg_file", ""))):
                needs = f"needs what is not installed here: pip install -e '.[{extra}]'"
                raise ConfigError(f"{' '.join(overrides)}: {needs}") from error
            culprit = next((o for o in fitting if _is_about(o, error)), None)
            if culprit is None and (found := IN_A_FILE.match(str(error))):
                raise ConfigError(_fault_of_file(found, error)) from error
            if culprit is None:
                raise ConfigError(f"{' '.join(fitting)}: {_first_line(error)}") from error
            if _is_unknown(error) and not culprit.startswith("hydra."):
                fitting[fitting.index(culprit)] = f"++{culprit}"
                added.add(key_of(culprit))
                continue
            fitting.remove(culprit)
            faults[culprit] = error
    problems = [_explain(culprit, error) for culprit, error in faults.items()]
    return Composed(config, fitting, added, problems)


def _unreadable(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Which config file is not YAML, and where."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{_shortened(mark.name)}, line {mark.line + 1}: {error.problem}"
    for path in CONFIGS.rglob("*.yaml"):
        try:
            path.read_text("utf-8")
        except UnicodeDecodeError as fault:
            return f"{_shortened(str(path))}: is not text in UTF-8: {fault}"
    return f"A config file cannot be read: {_first_line(error)}"


def _fault_of_file(found: re.Match[str], error: Exception) -> str:
    inner = error.__context__
    place = getattr(inner, "full_key", None)
    fault = _first_line(inner) if isinstance(inner, OmegaConfBaseException) else found["fault"]
    return f"configs/{found['file']}.yaml: {f'{place}: ' if place else ''}{fault}"


def _shortened(path: str) -> str:
    return path.removeprefix(f"{CONFIGS.parent}/")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_about(override: str, error: Exception) -> bool:
    key, _, value = override.lstrip("+~").partition("=")
    if NO_CHOICE in str(error):
        return (CONFIGS / key).is_dir() and (value == "null" or not value[:1].isalpha())
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
    return f"{override}: {_first_line(error)}"


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def choose_none(argument: str) -> str | None:
    """`logger=null` → `logger=none`; None for `experiment=null`, of which none is the default."""
    group, _, value = argument.partition("=")
    if value != "null" or not group or not (CONFIGS / group).is_dir():
        return argument
    if (CONFIGS / group / "none.yaml").is_file():
        return f"{group}=none"
    return None if group in PRESETS else argument


def _is_unknown(error: Exception) -> bool:
    """Whether an override is for a setting that no file has."""
    return "not in" in str(error.__cause__) and "override" in str(error)


def key_of(override: str) -> str:
    """`++a.b=c` → `a.b`."""
    return override.lstrip("+~").partition("=")[0]
