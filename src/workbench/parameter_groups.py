"""Parameter groups: parts of a module that are trained with settings of their own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from workbench.errors import ConfigError
from workbench.parts import find_part, is_within

OptimizerRecipe = Callable[[Iterable[nn.Parameter]], Optimizer]

BIASES_AND_NORMS = "biases_and_norms"
"""The parameters of at most one dimension, as a part."""


def make_optimizer(
    module: nn.Module,
    recipe: OptimizerRecipe,
    settings: Mapping[str, Any] | None,
    apart: Mapping[str, OptimizerRecipe] | None = None,
) -> Optimizer:
    """An optimizer of the parameters that are trained.

    Those that no part names come first. A parameter of two parts has the settings of both, and
    where they differ those of the part that is named last.

    Args:
        module: whose frozen parameters are left out.
        recipe: parameters → optimizer.
        settings: of the optimizer, by part: `{"decoder": {"lr": 1e-4}}`.
        apart: parts that have optimizers of their own, which `make_own_optimizers` makes.

    Raises:
        ConfigError: if there is no such part, nothing of it is trained, or the optimizer does not
            take its settings.
    """
    trained = {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not any(is_within(name, part) for part in apart or ())
    }
    if not settings:
        return recipe(trained.values())
    groups: dict[tuple[str, ...], dict[str, Any]] = {(): {"params": []}}
    options = dict(_by_part(settings))
    parts = {name: set(_members(module, trained, name)) for name in options}
    for name, own in options.items():
        _check(recipe, name, own)
    for name, parameter in trained.items():
        # By the names of its parts, so that numbers which change leave the groups as they are.
        key = tuple(part for part, members in parts.items() if name in members)
        merged = {k: v for part in key for k, v in options[part].items()}
        groups.setdefault(key, {"params": [], **merged})["params"].append(parameter)
    filled: Any = [group for group in groups.values() if group["params"]]
    return recipe(filled)


def make_own_optimizers(module: nn.Module, apart: Mapping[str, OptimizerRecipe]) -> list[Optimizer]:
    """The optimizers of parts that have their own; none of a part of which nothing is trained.

    Raises:
        ConfigError: if a weight of such a part belongs to the rest, or to another such part, too.
    """
    owners: dict[nn.Parameter, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        for part in [part for part in apart if is_within(name, part)] or ["the rest"]:
            first = owners.setdefault(parameter, part)
            if first != part and parameter.requires_grad:
                raise ConfigError(
                    f"{name} is a weight of {first} and of {part}, which have an optimizer each: "
                    "give them weights of their own"
                )
    of_parts = {
        part: [p for p in owners if owners[p] == part and p.requires_grad] for part in apart
    }
    return [recipe(of_parts[part]) for part, recipe in apart.items() if of_parts[part]]


def _by_part(settings: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings by dotted part: a part's name may be nested."""
    own = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    if own and not place:
        name = next(iter(own))
        raise ConfigError(
            f"parameter_groups.{name}={own[name]}: should be settings of a part, as in "
            f"parameter_groups.{name}.lr=1e-4"
        )
    if own:
        yield place, own
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _by_part(value, f"{place}.{name}" if place else str(name))


def _members(module: nn.Module, trained: Mapping[str, nn.Parameter], part: str) -> list[str]:
    setting = f"parameter_groups.{part}"
    if part == BIASES_AND_NORMS:
        members = [name for name, parameter in trained.items() if parameter.ndim < 2]
    else:
        found = find_part(module, part, setting)
        members = [name for name in trained if is_within(name, found)]
    if not members:
        raise ConfigError(f"{setting}: has no weights that this optimizer trains")
    return members


def _check(recipe: OptimizerRecipe, part: str, settings: Mapping[str, Any]) -> None:
    """Torch checks neither names nor values of a group, but those of an optimizer."""
    setting = f"parameter_groups.{part}"
    made: Callable[..., Optimizer] = recipe
    known = made([nn.Parameter(torch.zeros(1))]).defaults
    for name, value in settings.items():
        if name not in known:
            takes = ", ".join(known)
            raise ConfigError(f"{setting}.{name}: the optimizer takes no {name}; it takes {takes}")
        try:
            made([nn.Parameter(torch.zeros(1))], **{name: value})
        except (TypeError, ValueError, RuntimeError) as error:
            what = "should be a number" if isinstance(value, str) else error
            raise ConfigError(f"{setting}.{name}={value}: {what}") from error
