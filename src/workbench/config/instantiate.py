"""Build objects from a config, each of the type that its place asks for."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from pydantic import ValidationError

from workbench.config.hints import hint_of_items, is_recipe
from workbench.config.signatures import arguments_of
from workbench.config.targets import target_of
from workbench.errors import ConfigError, UserError
from workbench.ranges import in_our_words


def instantiate(config: Any, hint: Any, place: str, **extra: Any) -> Any:
    """Build the object that `config` describes.

    A mapping with `_target_` becomes an instance of that class, with the other entries as
    arguments; with `_partial_: true`, a `functools.partial` that makes one. The class is checked
    against `hint`, and those of the arguments against the signature, before an argument is built.

    Args:
        config: plain values, resolved.
        hint: the expected type.
        place: the dotted name of `config`, for messages.
        extra: further arguments of the outermost call.

    Raises:
        ConfigError: if a target is unknown, of another type, or refuses its arguments.
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
            return functools.partial(target, **arguments, **extra)
        return _call(target, {**arguments, **extra}, place)
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
        messages = (
            f"{'.'.join(map(str, (place, *e['loc'])))}: {in_our_words(e['msg'])}"
            for e in error.errors()
        )
        raise ConfigError("\n".join(messages)) from error
    except (ImportError, TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"{place}: {error}") from error
