"""The zoo: what a project can do without, found by its configs.

It is every model, prior, posterior and objective in `configs/model` that the models in `KEPT` do
not choose. No list says which files belong to one: a config names its class and is chosen by
others; the tests that use these go with them, and so do modules that nothing else uses.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import PurePosixPath

KEPT = ("stochastic_autoencoder", "autoencoder", "vae", "beta_vae")
"""The notebook's two models, and the VAE at two weights β."""

KINDS = ("model", "model/prior", "model/posterior", "model/objective")
"""The config groups with a zoo; networks and likelihoods go with any model."""

CHOICE = re.compile(r"\b([a-z]+(?:/[a-z]+)*)=([\w,|]+)")
"""A group and the configs that are chosen from it, or may be: `model=vae`, `data=mnist|kmnist`."""

Files = Mapping[str, str]
"""Path in the repository → text."""

Uses = Mapping[str, Set[str]]
"""Path → the files that it uses: modules, and configs that it chooses."""


def zoo(uses: Uses) -> set[str]:
    """The configs of the zoo."""
    kept, more = set[str](), {f"configs/model/{name}.yaml" for name in KEPT}
    while more:
        kept |= more
        used = {used for path in more for used in uses.get(path, ())}
        more = {path for path in used if path.endswith(".yaml")} - kept
    return {path for path in uses if path.endswith(".yaml") and group_of(path) in KINDS} - kept


def belongings(configs: Set[str], uses: Uses) -> set[str]:
    """These configs, and all that means nothing without them: configs, modules and tests."""
    gone, more = set[str](), {*configs}
    while more:
        gone |= more
        left = {path: used for path, used in uses.items() if path not in gone}
        more = {p for p in left if p.startswith(("configs/", "tests/")) and left[p] & gone}
        for module in {used for path in gone for used in uses[path]} - gone:
            named = any(module in uses[config] for config in gone if config.endswith(".yaml"))
            users = [user for user, used in left.items() if module in used]
            if module.endswith(".py") and not any(_keeps(user, module, named) for user in users):
                more.add(module)
    return gone


def _keeps(user: str, module: str, named: bool) -> bool:
    """Whether a user of a module is a reason to keep it.

    A test of it is none, and no more is a package that passes on a class that configs name.
    """
    if user.endswith("/__init__.py"):
        return not named
    return module.startswith("tests/") or not user.startswith("tests/")


def uses_of(files: Files) -> Uses:
    """What each file uses of the others."""
    trees = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    paths = {_dotted(path): path for path in trees}
    passed_on = {
        (_dotted(path), alias.asname or alias.name): f"{node.module}.{alias.name}"
        for path, tree in trees.items()
        if path.endswith("/__init__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def module_of(name: str) -> str | None:
        """The path of the module that a dotted name is, or is defined in."""
        module, _, last = name.rpartition(".")
        passed = passed_on.get((module, last))
        return paths.get(name) or (module_of(passed) if passed else paths.get(module))

    found = {}
    for path, text in files.items():
        if path in trees:
            names = {*_imported(trees[path])}
        else:
            named = re.findall(r"_target_: ([\w.]+)|^from (\S+) import (\w+)", text, re.MULTILINE)
            names = {target or f"{module}.{name}" for target, module, name in named}
        modules = {module for name in names if (module := module_of(name))}
        found[path] = modules | {config for config in chosen(path, text) if config in files}
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a module imports, also by `lazy`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy":
            yield from (str(name.value) for name in node.args if isinstance(name, ast.Constant))


def _dotted(path: str) -> str:
    inside = re.sub(r"^(src|scripts|tests/workbench|tests)/|(/__init__)?\.py$", "", path)
    return inside.replace("/", ".")


def group_of(path: str) -> str:
    """The group of a config."""
    return str(PurePosixPath(path).parent).removeprefix("configs/")


def chosen(path: str, text: str) -> Iterator[str]:
    """The configs that a text chooses, as `model=vae`, and those that a config builds on."""
    import yaml  # which a Python without the project's packages need not have

    for group, names in CHOICE.findall(text):
        yield from (f"configs/{group}/{name}.yaml" for name in re.split("[,|]", names))
    config = yaml.safe_load(text) if path.startswith("configs/") and path.endswith(".yaml") else {}
    if not isinstance(config, dict):
        return
    for default in config.get("defaults", ()):
        for key, name in default.items() if isinstance(default, dict) else [("", default)]:
            group = key.removeprefix("override ")
            place = group[1:] if group.startswith("/") else f"{group_of(path)}/{group}".strip("/")
            yield f"configs/{place}/{name}.yaml"
    for place, names in config.get("hydra", {}).get("sweeper", {}).get("params", {}).items():
        yield from (f"configs/{place}/{name}.yaml" for name in str(names).split(","))
