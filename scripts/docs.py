"""Write the API reference into `docs/api`, from the docstrings. A warning stops it.

It is one HTML file a module with a search that works from the disk: open `docs/api/index.html`.
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
    """Write it."""
    warnings.simplefilter("error")
    # Modules of packages without `__all__` are found twice.
    warnings.filterwarnings("ignore", "The module specification .* has already been added")
    # A TypedDict does not say which of its keys it has inherited.
    warnings.filterwarnings("ignore", "Cannot determine where .*Settings")
    # What the package imports at its first use.
    vars(musigma).update({name: getattr(musigma, name) for name in musigma.__all__})
    modules = []
    for package in (musigma, workbench):
        inside = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        modules += [package.__name__, *(module.name for module in inside)]
    for name in modules:
        for _, found in inspect.getmembers(importlib.import_module(name), is_pydantic_dataclass):
            show_fields(found)
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*modules, output_directory=FOLDER)
    print(FOLDER / "index.html")


def show_fields(of: Any) -> None:
    """Document the fields as the arguments of a constructor that pydantic wrote as `*args`."""
    if "__signature__" not in vars(of.__init__):
        hints, signature = get_type_hints(of), inspect.signature(of)
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        fields = [one.replace(annotation=hints[n]) for n, one in signature.parameters.items()]
        of.__init__.__signature__ = signature.replace(parameters=[own, *fields])


if __name__ == "__main__":
    main()
