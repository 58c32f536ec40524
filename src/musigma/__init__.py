"""musigma: autoencoders with a stochastic bottleneck, from the loss to the sweep.

`compose` returns a checked config, `build` its objects, and `load_run` a trained run. Importing the
package is fast; torch is imported when one of them is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from musigma.project import PROJECT  # the import registers the project with the workbench

if TYPE_CHECKING:
    from musigma.loading import load_run
    from workbench.interactive import build, compose

__all__ = ["PROJECT", "build", "compose", "load_run"]

MODULES = {
    "build": "workbench.interactive",
    "compose": "workbench.interactive",
    "load_run": "musigma.loading",
}


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
