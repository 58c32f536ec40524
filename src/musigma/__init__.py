"""musigma: autoencoders with a stochastic bottleneck, from the loss to the sweep.

Importing the package loads nothing heavy; `load_run` brings torch in when it is first used.
"""

from typing import TYPE_CHECKING, Any

from musigma.project import PROJECT  # and the project is handed over to the workbench

if TYPE_CHECKING:
    from musigma.loading import load_run

__all__ = ["PROJECT", "load_run"]


def __getattr__(name: str) -> Any:
    if name == "load_run":
        from musigma.loading import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
