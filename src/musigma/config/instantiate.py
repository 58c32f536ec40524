"""From config to objects, for a known set of classes only."""

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from pydantic import ValidationError

from musigma.errors import ConfigError, UserError

PROJECT = __name__.partition(".")[0]
LIBRARIES = ("torch.nn", "torch.optim", "lightning.pytorch")


def instantiate(config: Any, place: str, **more: Any) -> Any:
    """Build what `config` describes.

    A mapping with `_target_` becomes a call of that class or function with the other entries,
    themselves built first; with `_partial_: true` it becomes a partial of it. Only what the
    project itself defines can be a target, and classes of `LIBRARIES`.

    Args:
        config: plain values, as `OmegaConf.to_container(..., resolve=True)` gives them.
        place: where in the config this is, for messages.
        more: further arguments of the outermost call.

    Raises:
        ConfigError: if a target is unknown or not allowed, or refuses its arguments.
    """
    if isinstance(config, Mapping):
        items = {
            key: instantiate(value, f"{place}.{key}")
            for key, value in config.items()
            if key not in ("_target_", "_partial_")
        }
        if "_target_" not in config:
            return items
        target = find_target(config["_target_"], place)
        if config.get("_partial_", False):
            return functools.partial(target, **items, **more)
        return _call(target, {**items, **more}, place)
    if isinstance(config, Sequence) and not isinstance(config, str):
        return [instantiate(value, f"{place}[{i}]") for i, value in enumerate(config)]
    return config


def find_target(name: Any, place: str) -> Any:
    """The class or function called `name`, such as `musigma.models.MLP`.

    What counts is where it is defined, not the path by which it is reached.

    Raises:
        ConfigError: if there is none, or it is not allowed.
    """
    parts = str(name).split(".")
    if not any(_within(str(name), package) for package in (PROJECT, *LIBRARIES, "lightning")):
        raise _refused(name, place)
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
            for attribute in parts[length:]:
                found = getattr(found, attribute)
        except (ImportError, AttributeError):
            continue
        break
    else:
        raise ConfigError(f"{place}._target_: there is no {name}")
    home = getattr(found, "__module__", None) or ""
    own = callable(found) and _within(home, PROJECT)
    borrowed = isinstance(found, type) and any(_within(home, library) for library in LIBRARIES)
    if not (own or borrowed):
        raise _refused(name, place)
    return found


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _refused(name: Any, place: str) -> ConfigError:
    return ConfigError(
        f"{place}._target_: {name} is not allowed; a config may only name what is defined in "
        f"{PROJECT}, and classes of {', '.join(LIBRARIES)}"
    )


def _call(target: Any, arguments: dict[str, Any], place: str) -> Any:
    try:
        return target(**arguments)
    except UserError:
        raise
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError("\n".join(f"{place}.{fault}" for fault in faults)) from error
    except (ImportError, TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"{place}: {error}") from error
