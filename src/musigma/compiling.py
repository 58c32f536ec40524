"""What training computes of a batch, compiled by torch."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from musigma.objectives import Loss
from workbench.errors import ConfigError, one_line


@functools.cache
def compiled(terms: Callable[..., Loss], in_one: bool) -> Callable[..., Loss]:
    """The function that computes loss and terms of a batch, compiled.

    Args:
        terms: the function, unbound.
        in_one: in one graph or not at all, so that hooks of tensors are kept.

    Raises:
        ConfigError: when it is called, if it cannot be compiled.
    """
    # Draws of random numbers are those of a module that is not compiled.
    options: dict[str, Any] = {"triton.cudagraphs": True, "fallback_random": True}
    faster: Callable[..., Loss] = torch.compile(terms, fullgraph=in_one, options=options)

    def called(*arguments: Any) -> Loss:
        try:
            return faster(*arguments)
        except torch._dynamo.exc.Unsupported as error:
            raise ConfigError(
                "compile: torch cannot compile this model as a whole, and in parts the gradient "
                "of the objective, which hooks of tensors change, would be another: set "
                "compile=false, or take an objective without hooks"
            ) from error
        except torch._dynamo.exc.BackendCompilerFailed as error:
            inner = error.inner_exception
            what = f"{type(inner).__name__}: {one_line(inner)[:200]}"
            raise ConfigError(
                f"compile: torch's compiler failed ({what}): set compile=false, or look with "
                "scripts/doctor.py whether there is a C++ compiler, which it needs"
            ) from error

    return called
