"""The classes that a config may name: those that the place of their `_target_` wants."""

import importlib
import inspect
import os
import re
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from workbench.errors import ConfigError, one_line
from workbench.project import the_project

LIBRARIES = ("torch.nn", "torch.optim", "lightning.pytorch")
AT = {"hydra.sweeper.sampler": "optuna.samplers", "hydra.sweeper.pruner": "optuna.pruners"}
"""Packages whose classes may be named at one place only; a project adds its own."""


def target_of(node: Mapping[str, Any], hint: Any, place: str) -> type:
    """The class that a mapping with a `_target_` names; nothing of it has been built yet.

    Args:
        node: the mapping.
        hint: the type of the argument or entry that it stands for. A `Callable[..., T]` wants a
            recipe: a T with `_partial_: true`.
        place: where in the config it stands, for messages.

    Raises:
        ConfigError: unless `_target_` is a public class of the project, of `LIBRARIES` or of a
            trusted package, and of a type that the hint wants. Any and plain types want none.
    """
    name = node["_target_"]
    wanted = described(hint)
    if not wanted:
        raise ConfigError(f"{place}._target_={name}: {in_words(hint)}")
    target = find_class(name, place)
    if getattr(target, "_is_protocol", False) or not any(_is_a(target, kind) for kind in wanted):
        raise ConfigError(f"{place}._target_={name}: {in_words(hint)}")
    is_partial = node.get("_partial_", False)
    if not isinstance(is_partial, bool) or is_partial != is_recipe(hint):
        right = "true" if is_recipe(hint) else "false, or left out"
        raise ConfigError(f"{place}._partial_={is_partial!r}: should be {right} here")
    return target


def find_class(name: Any, place: str) -> type:
    """The class called `name`, such as `torch.nn.Linear`.

    What counts is where it is defined, not the path by which it is reached.

    Raises:
        ConfigError: if there is none, or configs may not name it.
    """
    libraries = {**AT, **the_project().libraries}
    here = [package for at, package in libraries.items() if re.match(rf"{at}([.[]|$)", place)]
    packages = (the_project().package, "workbench", *LIBRARIES, *here, *trusted_packages())
    parts = str(name).split(".")
    is_public = not any(part.startswith("_") for part in parts)
    if not is_public or not any(_within(str(name), home) for home in (*packages, "lightning")):
        raise _refused(name, place, here)
    found = _look_up(parts, place)
    if found is None:
        raise ConfigError(f"{place}._target_: there is no {name}")
    if not inspect.isclass(found) or not any(_within(found.__module__, p) for p in packages):
        raise _refused(name, place, here)
    return found


def trusted_variable() -> str:
    """The environment variable that names trusted packages."""
    return f"{the_project().package.upper()}_TRUSTED"


def trusted_packages() -> list[str]:
    """The packages that this machine's user trusts, whose classes configs may name.

    They are those in the environment variable (`mylab,bitsandbytes`) and in the list in the file.
    No config that is composed or opened can add to them.

    Raises:
        ConfigError: if the file holds anything but a list of names.
    """
    names = [name.strip() for name in os.environ.get(trusted_variable(), "").split(",")]
    file = the_project().configs / "local" / "trusted.yaml"
    if file.is_file():
        listed = yaml.safe_load(file.read_text("utf-8")) or []
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise ConfigError(f"{file}: should be a list of packages, such as [mylab]")
        names += listed
    return [name for name in names if name]


def members(hint: Any) -> list[Any]:
    """The members of a union, or the one hint, each without its annotations."""
    if typing.get_origin(hint) is typing.Annotated:
        return members(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in members(part)]
    return [Any if hint is inspect.Parameter.empty else hint]


def described(hint: Any) -> list[type]:
    """The classes that a hint wants an instance of, or a recipe for."""
    made = [_made(kind) for kind in members(hint)]
    return [kind for kind in made if inspect.isclass(kind) and not _is_plain(kind)]


def is_recipe(hint: Any) -> bool:
    """Whether a callable is wanted that makes something later."""
    return any(typing.get_origin(kind) is Callable for kind in members(hint))


def hint_of_items(hint: Any, container: Any) -> Any:
    """The type of the items of a list (`Sequence`) or of a mapping's values; Any if unknown."""
    for kind in members(hint):
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if inspect.isclass(origin) and issubclass(origin, container) and arguments:
            return arguments[1] if container is Mapping else arguments[0]
    return Any


def in_words(hint: Any) -> str:
    """A type hint in words, for messages."""
    kinds = [_made(kind) for kind in members(hint) if kind is not type(None)]
    if Any in kinds:
        return "should be a plain value, without a _target_"
    names = [
        "a mapping"
        if typing.get_origin(kind) is dict
        else kind.__name__
        if inspect.isclass(kind)
        else str(kind).replace("typing.", "")
        for kind in kinds
    ]
    how = ", described with a _target_" if described(hint) else ""
    return f"should be {' or '.join(names)}{how}"


def _is_plain(kind: type) -> bool:
    """Whether it is a value that is written as it is: a number, text, path or tensor."""
    module = kind.__module__
    return module == "torch" or module.partition(".")[0] in {"builtins", *sys.stdlib_module_names}


def _made(kind: Any) -> Any:
    """A bare Callable makes anything."""
    if kind is Callable or kind is typing.Callable:
        return Any
    return typing.get_args(kind)[1] if typing.get_origin(kind) is Callable else kind


def _is_a(target: type, kind: Any) -> bool:
    """Whether instances of a class are of a kind; of a protocol, whether it has all its members."""
    if not getattr(kind, "_is_protocol", False):
        return issubclass(target, kind)
    wanted = {name for name in vars(kind) if name == "__call__" or not name.startswith("_")}
    has = {
        name for base in target.__mro__ for name in (*vars(base), *inspect.get_annotations(base))
    }
    return wanted <= has


def _look_up(parts: Sequence[str], place: str) -> Any:
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module)
            for attribute in parts[length:]:
                found = getattr(found, attribute, None)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and _within(module, str(error.name)):
                continue  # it is a class, or not there
            raise _not_imported(module, place, error) from error
        if found is not None:
            return found
    return None


def _not_imported(module: str, place: str, error: Exception) -> ConfigError:
    """An error in the code of a module, or of one that it imports, with its place."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    known = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
    what = f"{type(error).__name__}: {one_line(error)}{known}"
    return ConfigError(f"{place}._target_: {module} cannot be imported: {what}")


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _refused(name: Any, place: str, here: Sequence[str]) -> ConfigError:
    libraries = ", ".join([*LIBRARIES, *here])
    return ConfigError(
        f"{place}._target_: {name} is not allowed; a config may only name public classes of "
        f"{the_project().package}, of workbench, of {libraries}, and of packages listed in "
        f"{trusted_variable()} or configs/local/trusted.yaml"
    )
