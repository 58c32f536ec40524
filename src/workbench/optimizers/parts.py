"""Parts of a module: how they are named, and frozen."""

import warnings
from collections.abc import Collection, Iterable, Iterator

from torch import nn

from workbench.errors import ConfigError


def find_part(module: nn.Module, name: str, setting: str) -> str:
    """The full dotted name of a part whose name may be shortened: `b` for `a.b`.

    Args:
        module: the module.
        name: the end of the name of a submodule or parameter; the outermost of several is meant.
        setting: the setting that names the part, for error messages.

    Raises:
        ConfigError: if there is no such part, or more than one.
    """
    names = [known for known, _ in module.named_modules() if known]
    names += [known for known, _ in module.named_parameters()]
    found = [known for known in names if f".{known}".endswith(f".{name}")]
    depth = min((known.count(".") for known in found), default=0)
    outermost = [known for known in found if known.count(".") == depth]
    if not outermost:
        raise ConfigError(f"{setting}: there is no part {name}; there are {_part_names(module)}")
    if len(outermost) > 1:
        raise ConfigError(f"{setting}: {name} may be {' or '.join(outermost)}; write a longer name")
    return outermost[0]


def is_within(name: str, part: str) -> bool:
    """True if the weight of that dotted name belongs to a part, or is the part."""
    return name == part or name.startswith(f"{part}.")


def freeze(module: nn.Module, names: Iterable[str]) -> None:
    """Freeze parts, named as for `find_part`: no gradients, and evaluation mode.

    In that mode buffers do not change; an `OptimizedModule` keeps it in training.

    Raises:
        ConfigError: if there is no such part, or nothing is left to train.
    """
    names = list(names)
    setting = f"freeze=[{','.join(names)}]"
    parts = [find_part(module, name, setting) for name in names]
    for name, parameter in module.named_parameters():
        if any(is_within(name, part) for part in parts):
            parameter.requires_grad_(False)
    module.frozen = tuple(parts)  # type: ignore[assignment]
    module.train(module.training)
    if parts and not any(parameter.requires_grad for parameter in module.parameters()):
        raise ConfigError(f"{setting}: leaves nothing to train")
    if parts:  # as asked for, so Lightning need not warn
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")


def frozen_modules(module: nn.Module, parts: Collection[str]) -> Iterator[nn.Module]:
    """The modules among the parts of these dotted names."""
    return (part for name, part in module.named_modules() if name in parts)


def _part_names(module: nn.Module) -> str:
    """The outer parts that have weights or buffers, by their short names."""
    names = [
        name
        for name, part in module.named_modules()
        if name and name.count(".") < 2 and part.state_dict()
    ]
    return ", ".join(name.rpartition(".")[2] for name in names) or "none"
