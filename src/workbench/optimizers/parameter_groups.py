"""Parameter groups: parts of a module that are trained with settings of their own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from workbench.errors import ConfigError
from workbench.optimizers.parts import find_part, is_within

OptimizerRecipe = Callable[[Iterable[nn.Parameter]], Optimizer]

BIASES_AND_NORMS = "biases_and_norms"
"""The name of a part that consists of all parameters of at most one dimension."""


def make_optimizer(
    module: nn.Module,
    recipe: OptimizerRecipe,
    settings: Mapping[str, Any] | None,
    own_recipes: Mapping[str, OptimizerRecipe] | None = None,
) -> Optimizer:
    """An optimizer of the parameters that are trained, in groups by part.

    Parameters of no named part come first. A parameter of several parts has the settings of all of
    them; where these differ, those of the part that is named last.

    Args:
        module: the module, whose frozen parameters are left out.
        recipe: parameters → optimizer.
        settings: settings of the optimizer by part: `{"decoder": {"lr": 1e-4}}`.
        own_recipes: as for `make_own_optimizers`; the parameters of these parts are left out.

    Raises:
        ConfigError: if a part does not exist or is not trained at all, or if the optimizer does not
            take its settings.
    """
    trained = {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not any(is_within(name, part) for part in own_recipes or ())
    }
    if not settings:
        return recipe(trained.values())
    groups: dict[tuple[str, ...], dict[str, Any]] = {(): {"params": []}}
    options = dict(_by_part(settings))
    parts = {name: set(_members(module, trained, name)) for name in options}
    for name, own in options.items():
        _check_settings(recipe, name, own)
    for name, parameter in trained.items():
        # By the names of its parts, so that groups stay the same when numbers change.
        key = tuple(part for part, members in parts.items() if name in members)
        merged = {k: v for part in key for k, v in options[part].items()}
        groups.setdefault(key, {"params": [], **merged})["params"].append(parameter)
    filled: Any = [group for group in groups.values() if group["params"]]
    return recipe(filled)


def make_own_optimizers(
    module: nn.Module, own_recipes: Mapping[str, OptimizerRecipe]
) -> list[Optimizer]:
    """The optimizers of parts that have their own, if anything of the part is trained.

    Raises:
        ConfigError: if a part has no weights, or a weight of it also belongs to the rest, or to
            another such part.
    """
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    for part in own_recipes:
        if not any(is_within(name, part) for name in names):
            raise ConfigError(
                f"{part} has an optimizer of its own and no weights: `learners` must name an "
                "attribute that is a module or a parameter"
            )
    owners: dict[nn.Parameter, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        for part in [part for part in own_recipes if is_within(name, part)] or ["the rest"]:
            first = owners.setdefault(parameter, part)
            if first != part and parameter.requires_grad:
                raise ConfigError(
                    f"{name} is a weight of {first} and of {part}, which have an optimizer each: "
                    "give them weights of their own"
                )
    trained = {
        part: [p for p in owners if owners[p] == part and p.requires_grad] for part in own_recipes
    }
    return [recipe(trained[part]) for part, recipe in own_recipes.items() if trained[part]]


def _by_part(settings: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings by dotted name of a part, from nested ones."""
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
    """The names of the trained parameters of a part."""
    setting = f"parameter_groups.{part}"
    if part == BIASES_AND_NORMS:
        members = [name for name, parameter in trained.items() if parameter.ndim < 2]
    else:
        found = find_part(module, part, setting)
        members = [name for name in trained if is_within(name, found)]
    if not members:
        raise ConfigError(f"{setting}: has no weights that this optimizer trains")
    return members


def _check_settings(recipe: OptimizerRecipe, part: str, settings: Mapping[str, Any]) -> None:
    """Check settings as those of an optimizer, because torch does not check those of a group."""
    setting = f"parameter_groups.{part}"
    make: Callable[..., Optimizer] = recipe
    known = make([nn.Parameter(torch.zeros(1))]).defaults
    for name, value in settings.items():
        if name not in known:
            takes = ", ".join(known)
            raise ConfigError(f"{setting}.{name}: the optimizer takes no {name}; it takes {takes}")
        try:
            make([nn.Parameter(torch.zeros(1))], **{name: value})
        except (TypeError, ValueError, RuntimeError) as error:
            fault = "should be a number" if isinstance(value, str) else error
            raise ConfigError(f"{setting}.{name}={value}: {fault}") from error
