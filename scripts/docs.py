"""Write the API reference from the docstrings into `docs/api`. Warnings are errors.

Each module is an HTML file, and the search works from the disk: open `docs/api/index.html`.
"""

import importlib
import inspect
import pkgutil
import warnings
from pathlib import Path
from typing import Any, get_type_hints

import pdoc
from pydantic.dataclasses import is_pydantic_dataclass

import musigma
import workbench

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "api"


def main() -> None:
    """Write the API reference."""
    warnings.simplefilter("error")
    # Modules of packages without `__all__` are found twice.
    warnings.filterwarnings("ignore", "The module specification .* has already been added")
    # A TypedDict does not record which of its keys are inherited.
    warnings.filterwarnings("ignore", "Cannot determine where .*Settings")
    # Names that the package imports at their first use.
    vars(musigma).update({name: getattr(musigma, name) for name in musigma.__all__})
    modules = []
    for package in (musigma, workbench):
        inside = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        modules += [package.__name__, *(module.name for module in inside)]
    for name in modules:
        for _, kind in inspect.getmembers(importlib.import_module(name), is_pydantic_dataclass):
            show_fields(kind)
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*modules, output_directory=FOLDER)
    print(FOLDER / "index.html")


def show_fields(kind: Any) -> None:
    """Give a pydantic dataclass, whose constructor has `*args`, a signature with its fields."""
    if "__signature__" not in vars(kind.__init__):
        hints, signature = get_type_hints(kind), inspect.signature(kind)
        self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        fields = [p.replace(annotation=hints[name]) for name, p in signature.parameters.items()]
        kind.__init__.__signature__ = signature.replace(parameters=[self, *fields])


if __name__ == "__main__":
    main()
