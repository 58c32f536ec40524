"""Overrides and what Hydra composes with them, each fault with its override."""

import difflib
import re
from typing import Any, NamedTuple

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from musigma.errors import ConfigError

PLUGINS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}
"""Configs that Hydra's plugins bring, and the extra that installs each plugin."""

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
        ConfigError: if nobody can tell which they are, or a plugin is not installed.
    """
    fitting, added, faults = list(overrides), set(), {}
    while True:
        try:
            config = compose(config_name, fitting, return_hydra_config=True)
            break
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if extra := PLUGINS.get(str(getattr(error, "missing_cfg_file", ""))):
                needs = f"needs what is not installed here: pip install -e '.[{extra}]'"
                raise ConfigError(f"{' '.join(overrides)}: {needs}") from error
            culprit = next((o for o in fitting if _is_about(o, error)), None)
            if culprit is None:
                raise ConfigError(f"{' '.join(fitting)}: {error}") from error
            if _is_unknown(error) and not culprit.startswith("hydra."):
                fitting[fitting.index(culprit)] = f"++{culprit}"
                added.add(key_of(culprit))
                continue
            fitting.remove(culprit)
            faults[culprit] = error
    problems = [_explain(culprit, error) for culprit, error in faults.items()]
    return Composed(config, fitting, added, problems)


def _is_about(override: str, error: Exception) -> bool:
    named = re.search(rf"{TWICE} (\S+)\.", str(error)) or re.search(
        r"'([^']+)'", str(error).partition("Could not find")[2] or str(error)
    )
    key, _, value = override.lstrip("+~").partition("=")
    return named is not None and named[1] in (key, f"{key}/{value}", override)


def _explain(override: str, error: Exception) -> str:
    key, _, value = override.lstrip("+~").partition("=")
    if isinstance(error, MissingConfigException):
        options = list(error.options or [])
        nearest = difflib.get_close_matches(value, options, 1)
        meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(options)}"
        return f"{override}: there is no {key} of that name; {meant}"
    if str(error).startswith(TWICE):
        return f"{override}: leave out the +, as there is one to choose already"
    if str(error).startswith("Ambiguous value"):
        return f"{override}: add -m to run each of these; a list is [a,b], and a text 'a,b'"
    return f"{override}: {str(error).splitlines()[0]}"


def _is_unknown(error: Exception) -> bool:
    """Whether an override is for a setting that no file has."""
    return "not in" in str(error.__cause__) and "override" in str(error)


def key_of(override: str) -> str:
    """`++a.b=c` → `a.b`."""
    return override.lstrip("+~").partition("=")[0]
