"""Parts of a module by name, and parts that stay as they are."""

import warnings
from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from workbench.errors import ConfigError


def find_part(module: nn.Module, name: str, setting: str) -> str:
    """The dotted name of a part, of which the beginning may be left out: `b` for `a.b`.

    Args:
        module: that it is a part of.
        name: of a submodule or a parameter; of several that end in it the outermost is meant.
        setting: that names it, for messages.

    Raises:
        ConfigError: if there is none, or more than one.
    """
    names = [known for known, _ in module.named_modules() if known]
    names += [known for known, _ in module.named_parameters()]
    found = [known for known in names if f".{known}".endswith(f".{name}")]
    depth = min((known.count(".") for known in found), default=0)
    outermost = [known for known in found if known.count(".") == depth]
    if not outermost:
        raise ConfigError(f"{setting}: there is no part {name}; there are {_known(module)}")
    if len(outermost) > 1:
        raise ConfigError(f"{setting}: {name} may be {' or '.join(outermost)}; write more of it")
    return outermost[0]


def is_within(name: str, part: str) -> bool:
    """True if a weight of that dotted name belongs to a part, or is it."""
    return name == part or name.startswith(f"{part}.")


def freeze(module: nn.Module, names: Iterable[str]) -> None:
    """Keep parts as they are: no gradients, evaluation mode, and no change of their buffers.

    Args:
        module: that they are parts of; a `ReportingModule` keeps them so in training.
        names: as `find_part` takes them.

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
    if parts:  # asked for, and Lightning need not wonder
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")


def frozen_modules(module: nn.Module, parts: Iterable[str]) -> Iterator[nn.Module]:
    """The parts that are modules."""
    known: Mapping[str, nn.Module] = dict(module.named_modules())
    return (known[part] for part in parts if part in known)


def _known(module: nn.Module) -> str:
    """The outer parts that have weights or buffers, by their short names."""
    names = [
        name
        for name, part in module.named_modules()
        if name and name.count(".") < 2 and part.state_dict()
    ]
    return ", ".join(name.rpartition(".")[2] for name in names) or "none"
