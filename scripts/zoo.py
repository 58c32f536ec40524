"""Find the zoo, the models that a project can do without, and the files that belong to it.

The zoo is every model, prior, posterior and objective in `configs/model` that the models in `KEPT`
do not use. To it belong the classes that its configs name, configs that choose them, tests that use
these, and modules that nothing else uses.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import PurePosixPath

KEPT = ("stochastic_autoencoder", "autoencoder", "vae", "beta_vae")
"""The notebook's two models, and the VAE at two weights β."""

KINDS = ("model", "model/prior", "model/posterior", "model/objective")
"""The config groups that belong to the zoo; networks and likelihoods fit any model."""

CHOICE = re.compile(r"\b([a-z]+(?:/[a-z]+)*)=([\w,|]+)")
"""A config group and one or more choices from it: `model=vae`, `data=mnist|kmnist`."""

Files = Mapping[str, str]
"""Path in the repository → text."""

Uses = Mapping[str, Set[str]]
"""Path → the files that the file uses: modules that it imports, and configs that it chooses."""


def zoo(uses: Uses) -> set[str]:
    """The configs of the zoo."""
    kept, new = set[str](), {f"configs/model/{name}.yaml" for name in KEPT}
    while new:
        kept |= new
        used = {used for path in new for used in uses.get(path, ())}
        new = {path for path in used if path.endswith(".yaml")} - kept
    return {path for path in uses if path.endswith(".yaml") and group_of(path) in KINDS} - kept


def belongings(configs: Set[str], uses: Uses) -> set[str]:
    """These configs, and the configs, modules and tests that are useless without them."""
    gone, new = set[str](), {*configs}
    while new:
        gone |= new
        left = {path: used for path, used in uses.items() if path not in gone}
        new = {p for p in left if p.startswith(("configs/", "tests/")) and left[p] & gone}
        for module in {used for path in gone for used in uses[path]} - gone:
            is_target = any(module in uses[config] for config in gone if config.endswith(".yaml"))
            users = [user for user, used in left.items() if module in used]
            if module.endswith(".py") and not any(
                _needs(user, module, is_target) for user in users
            ):
                new.add(module)
    return gone


def _needs(user: str, module: str, is_target: bool) -> bool:
    """True if a user of a module is a reason to keep the module.

    A test is none for a module outside the tests; a package that re-exports the module is none if
    the module `is_target`: if a removed config names its class.
    """
    if user.endswith("/__init__.py"):
        return not is_target
    return module.startswith("tests/") or not user.startswith("tests/")


def uses_of(files: Files) -> Uses:
    """The other files that each file uses."""
    trees = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    paths = {_dotted(path): path for path in trees}
    re_exports = {
        (_dotted(path), alias.asname or alias.name): f"{node.module}.{alias.name}"
        for path, tree in trees.items()
        if path.endswith("/__init__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def module_of(name: str) -> str | None:
        """The path of a module by its dotted name, or of the module that defines a name."""
        module, _, last = name.rpartition(".")
        original = re_exports.get((module, last))
        return paths.get(name) or (module_of(original) if original else paths.get(module))

    uses = {}
    for path, text in files.items():
        if path in trees:
            names = {*_imported(trees[path])}
        else:
            found = re.findall(r"_target_: ([\w.]+)|^from (\S+) import (\w+)", text, re.MULTILINE)
            names = {target or f"{module}.{name}" for target, module, name in found}
        modules = {module for name in names if (module := module_of(name))}
        uses[path] = modules | {config for config in chosen(path, text) if config in files}
    return uses


def _imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a module imports, by `import` or by `lazy(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy":
            yield from (str(name.value) for name in node.args if isinstance(name, ast.Constant))


def _dotted(path: str) -> str:
    """The dotted name of a module, from its path."""
    inside = re.sub(r"^(src|scripts|tests/workbench|tests)/|(/__init__)?\.py$", "", path)
    return inside.replace("/", ".")


def group_of(path: str) -> str:
    """The config group of a config file."""
    return str(PurePosixPath(path).parent).removeprefix("configs/")


def chosen(path: str, text: str) -> Iterator[str]:
    """The configs that a text chooses, such as `model=vae`, and the defaults of a config."""
    import yaml  # here, so that `fork.py --help` works before the project is installed

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
