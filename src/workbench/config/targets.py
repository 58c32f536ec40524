"""Find the class that a `_target_` names, and check that a config may name it at that place."""

import importlib
import inspect
import os
import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from workbench.config.hints import classes_in, describe_hint, is_recipe
from workbench.errors import ConfigError, described
from workbench.project import the_project

LIBRARIES = ("torch.nn", "torch.optim", "lightning.pytorch")
LIBRARIES_AT = {
    "hydra.sweeper.sampler": "optuna.samplers",
    "hydra.sweeper.pruner": "optuna.pruners",
}
"""Packages whose classes may be named at one place only, by that place; a project adds its own."""


def target_of(node: Mapping[str, Any], hint: Any, place: str) -> type:
    """The class that the `_target_` of a mapping names, before anything is built.

    Args:
        node: the mapping.
        hint: the expected type. `Callable[..., T]` asks for a recipe: a T with `_partial_: true`.
        place: the dotted name of the mapping, for messages.

    Raises:
        ConfigError: unless `_target_` is a public class of the project, of `LIBRARIES` or of a
            trusted package, and of a type that the hint allows. Any and plain types allow none.
    """
    name = node["_target_"]
    allowed = classes_in(hint)
    target = find_class(name, place) if allowed else object
    if getattr(target, "_is_protocol", False) or not any(_is_a(target, kind) for kind in allowed):
        raise ConfigError(f"{place}._target_={name}: {describe_hint(hint)}")
    is_partial = node.get("_partial_", False)
    if not isinstance(is_partial, bool) or is_partial != is_recipe(hint):
        expected = "true" if is_recipe(hint) else "false, or left out"
        raise ConfigError(f"{place}._partial_={is_partial!r}: should be {expected} here")
    return target


def find_class(name: Any, place: str) -> type:
    """The class called `name`, such as `torch.nn.Linear`.

    The package that defines the class has to be an allowed one, not only the one in its name.

    Raises:
        ConfigError: if there is no such class, or configs may not name it.
    """
    libraries_at = {**LIBRARIES_AT, **the_project().libraries}
    local = [package for at, package in libraries_at.items() if re.match(rf"{at}([.[]|$)", place)]
    packages = (the_project().package, "workbench", *LIBRARIES, *local, *trusted_packages())
    parts = str(name).split(".")
    is_public = not any(part.startswith("_") for part in parts)
    if not is_public or not any(_within(str(name), home) for home in (*packages, "lightning")):
        raise _refused(name, place, local)
    found = _look_up(parts, place)
    if found is None:
        raise ConfigError(f"{place}._target_: there is no {name}")
    if not inspect.isclass(found) or not any(_within(found.__module__, p) for p in packages):
        raise _refused(name, place, local)
    return found


def trusted_variable() -> str:
    """The environment variable that names trusted packages."""
    return f"{the_project().package.upper()}_TRUSTED"


def trusted_packages() -> list[str]:
    """The packages whose classes configs may name because the user of this machine trusts them.

    They come from the environment variable (`mylab,bitsandbytes`) and from a file,
    `configs/local/trusted.yaml`. A config cannot add to them.

    Raises:
        ConfigError: if the file does not hold a list of names.
    """
    names = [name.strip() for name in os.environ.get(trusted_variable(), "").split(",")]
    file = the_project().configs / "local" / "trusted.yaml"
    if file.is_file():
        listed = yaml.safe_load(file.read_text("utf-8")) or []
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise ConfigError(f"{file}: should be a list of packages, such as [mylab]")
        names += listed
    return [name for name in names if name]


def _is_a(target: type, kind: Any) -> bool:
    """Whether a class is a subclass of another, or has all members of a protocol."""
    if not getattr(kind, "_is_protocol", False):
        return issubclass(target, kind)
    required = {name for name in vars(kind) if name == "__call__" or not name.startswith("_")}
    present = {
        name for base in target.__mro__ for name in (*vars(base), *inspect.get_annotations(base))
    }
    return required <= present


def _look_up(parts: Sequence[str], place: str) -> Any:
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module)
            for attribute in parts[length:]:
                found = getattr(found, attribute, None)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and _within(module, str(error.name)):
                continue  # the last part is a class, or there is no such module
            raise _not_imported(module, place, error) from error
        if found is not None:
            return found
    return None


def _not_imported(module: str, place: str, error: Exception) -> ConfigError:
    """The error of a module whose import fails, with the file and line of the failure."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    # The message of a SyntaxError has both already.
    where = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
    reason = f"{described(error)}{where}"
    return ConfigError(f"{place}._target_: {module} cannot be imported: {reason}")


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _refused(name: Any, place: str, local: Sequence[str]) -> ConfigError:
    libraries = ", ".join([*LIBRARIES, *local])
    return ConfigError(
        f"{place}._target_: {name} is not allowed; a config may only name public classes of "
        f"{the_project().package}, of workbench, of {libraries}, and of packages listed in "
        f"{trusted_variable()} or configs/local/trusted.yaml"
    )
