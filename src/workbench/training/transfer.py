"""Transfer weights between modules: those that fit by name and shape."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from workbench.console import display_path
from workbench.errors import ConfigError
from workbench.optimizers.parts import find_part, is_within
from workbench.text import show_table

LOADED, OTHER_SHAPE = "loaded", "other shape"


class SourceWeights(NamedTuple):
    """Weights read from a file, to initialize a run with.

    Args:
        path: the file.
        sha256: the hash of its content.
        weights: the weights by name.
        step: the optimizer steps that they were trained for, if the file says so.
    """

    path: Path
    sha256: str
    weights: dict[str, Tensor]
    step: int | None


class Transfer(NamedTuple):
    """The weights that a module loads from a source, and why others are not loaded.

    Args:
        source: the source.
        outcomes: `loaded`, or the reason why not, by name of a weight of the module or the source.
        shapes: the shapes in the module and in the source, by name, where they differ.
    """

    source: SourceWeights
    outcomes: dict[str, str]
    shapes: dict[str, tuple[list[int], list[int]]]

    @property
    def names(self) -> frozenset[str]:
        """The names of the loaded weights in the module."""
        return frozenset(name for name, outcome in self.outcomes.items() if outcome == LOADED)

    def plain(self) -> dict[str, Any]:
        """The transfer as plain values, for JSON."""
        rest = {name: outcome for name, outcome in self.outcomes.items() if outcome != LOADED}
        path, digest, _, step = self.source
        about = {"path": str(path), "sha256": digest, "step": step}
        return {**about, "loaded": sorted(self.names), "not_loaded": rest}

    def show(self) -> None:
        """Print a table: outcomes by part, and both shapes of each weight where they differ."""
        parts = Counter(
            (".".join(name.split(".")[:2]), outcome)
            for name, outcome in self.outcomes.items()
            if outcome != OTHER_SHAPE
        )
        rows = [[part, f"{count} tensors", what] for (part, what), count in parts.items()]
        rows += [
            [name, f"{here} here, {there} in the file", OTHER_SHAPE]
            for name, (here, there) in self.shapes.items()
        ]
        title = f"init from   {display_path(self.source.path)}"
        show_table(title, ("", "weights", ""), sorted(rows))


def transfer(module: nn.Module, source: SourceWeights, parts: Iterable[str] | None) -> Transfer:
    """Give a module the weights that fit it by name and shape; a ConfigError if none does."""
    weights, plan = plan_transfer(module, source, parts)
    module.load_state_dict({name: weights[name] for name in plan.names}, strict=False)
    return plan


def plan_transfer(
    module: nn.Module, source: SourceWeights, parts: Iterable[str] | None
) -> tuple[Mapping[str, Tensor], Transfer]:
    """The weights of the source by their names in a module, and which of them it can load."""
    own = module.state_dict()
    weights = _renamed(source.weights, module)
    wanted = None if parts is None else [find_part(module, p, "init_from_parts") for p in parts]
    outcomes, shapes = {}, {}
    for name, value in {**own, **weights}.items():
        if wanted is not None and not any(is_within(name, part) for part in wanted):
            outcomes[name] = "not among init_from_parts"
        elif name not in weights:
            outcomes[name] = "not in the file: initialized"
        elif name not in own:
            outcomes[name] = "not in the module"
        elif own[name].shape != value.shape:
            outcomes[name] = OTHER_SHAPE
            shapes[name] = ([*own[name].shape], [*value.shape])
        else:
            outcomes[name] = LOADED
    plan = Transfer(source, outcomes, shapes)
    if not plan.names:
        name, shape = next(iter(shapes.items()), (next(iter(weights)), None))
        fault = f"{name} is {shape[1]} there and {shape[0]} here" if shape else f"it holds {name}"
        raise ConfigError(f"init_from={source.path}: none of its weights fits, as {fault}")
    return weights, plan


def _renamed(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Weights by their names in a module: a model may be a part of either, with a prefix there.

    The prefixes to remove and to add are those for which most names are the module's.
    """
    own = module.state_dict().keys()
    added = ["", *(f"{name}." for name, _ in module.named_children())]
    removed = ["", *dict.fromkeys(f"{name.partition('.')[0]}." for name in weights)]
    candidates = [
        {f"{new}{name.removeprefix(old)}": value for name, value in weights.items()}
        for new in added
        for old in removed
    ]
    return max(candidates, key=lambda renamed: len(own & renamed.keys()))
