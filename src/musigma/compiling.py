"""Compile the computation of a training step with torch."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from musigma.objectives import Loss
from workbench.errors import ConfigError, one_line


@functools.cache
def compiled(terms: Callable[..., Loss], fullgraph: bool) -> Callable[..., Loss]:
    """Compile the function that computes loss and terms of a batch.

    Args:
        terms: the function, unbound.
        fullgraph: compile it to one graph or fail, as hooks of tensors need.

    Raises:
        ConfigError: at a call, if the function cannot be compiled.
    """
    # The second option keeps random numbers equal to those of a module that is not compiled.
    options: dict[str, Any] = {"triton.cudagraphs": True, "fallback_random": True}
    compiled_terms: Callable[..., Loss] = torch.compile(terms, fullgraph=fullgraph, options=options)

    def call(*arguments: Any) -> Loss:
        try:
            return compiled_terms(*arguments)
        except torch._dynamo.exc.Unsupported as error:
            raise ConfigError(
                "compile: torch cannot compile this model to one graph, without which the tensor "
                "hooks of the objective would not change its gradient: set compile=false, or "
                "choose an objective without hooks"
            ) from error
        except torch._dynamo.exc.BackendCompilerFailed as error:
            inner = error.inner_exception
            reason = f"{type(inner).__name__}: {one_line(inner)[:200]}"
            raise ConfigError(
                f"compile: torch's compiler failed ({reason}): set compile=false, or check with "
                "scripts/doctor.py that the C++ compiler that it needs is installed"
            ) from error

    return call
