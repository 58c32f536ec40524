"""From config to objects, each of the class that its place wants."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from pydantic import ValidationError

from workbench.config.signatures import arguments_of
from workbench.config.targets import hint_of_items, is_recipe, target_of
from workbench.errors import ConfigError, UserError
from workbench.ranges import in_our_words


def instantiate(config: Any, hint: Any, place: str, **more: Any) -> Any:
    """Build what `config` describes.

    A mapping with `_target_` becomes an instance of that class, made of the other entries, or
    with `_partial_: true` a recipe for one. Which class it may be is decided by `hint`, and for
    each entry by the signature that it is an argument of, before any of its own entries is built.

    Args:
        config: plain values, as `OmegaConf.to_container(..., resolve=True)` gives them.
        hint: the type that is wanted.
        place: where in the config this is, for messages.
        more: further arguments of the outermost call.

    Raises:
        ConfigError: if a target is unknown or not wanted there, or refuses its arguments.
    """
    if isinstance(config, Mapping) and "_target_" in config:
        target = target_of(config, hint, place)
        known, _ = arguments_of(target)
        arguments = {
            name: instantiate(value, known[name].hint if name in known else Any, f"{place}.{name}")
            for name, value in config.items()
            if name not in ("_target_", "_partial_")
        }
        if is_recipe(hint):
            return functools.partial(target, **arguments, **more)
        return _call(target, {**arguments, **more}, place)
    if isinstance(config, Mapping):
        inner = hint_of_items(hint, Mapping)
        return {key: instantiate(value, inner, f"{place}.{key}") for key, value in config.items()}
    if isinstance(config, Sequence) and not isinstance(config, str):
        inner = hint_of_items(hint, Sequence)
        return [instantiate(value, inner, f"{place}[{i}]") for i, value in enumerate(config)]
    return config


def _call(target: type, arguments: dict[str, Any], place: str) -> Any:
    try:
        return target(**arguments)
    except UserError:
        raise
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, e['loc']))}: {in_our_words(e['msg'])}" for e in error.errors()
        )
        raise ConfigError("\n".join(f"{place}.{fault}" for fault in faults)) from error
    except (ImportError, TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"{place}: {error}") from error
