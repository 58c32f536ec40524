"""musigma: autoencoders with a stochastic bottleneck, from the loss to the sweep.

`compose` gives a checked config, `build` its objects, and `load_run` a trained run. Importing the
package loads nothing heavy; torch is brought in when one of them is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from musigma.project import PROJECT  # and the project is handed over to the workbench

if TYPE_CHECKING:
    from musigma.loading import load_run
    from workbench.interactive import build, compose

__all__ = ["PROJECT", "build", "compose", "load_run"]

HOMES = {
    "build": "workbench.interactive",
    "compose": "workbench.interactive",
    "load_run": "musigma.loading",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
