"""Compile the computation of a training step with torch."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from workbench.errors import ConfigError, one_line


class CompiledTraining:
    """Compiles the training steps of the LightningModule that it is mixed into.

    The module calls `in_training(function)` in place of the function that computes its loss.
    """

    _is_compiled = False

    def compile_training(self) -> None:
        """Compile the functions of later training steps; evaluation is not compiled.

        On a GPU they are replayed as CUDA graphs. Earlier compilations are discarded, because torch
        limits how often it compiles one function.
        """
        torch.compiler.reset()
        compiled.cache_clear()
        self._is_compiled = True

    def in_training(self, function: Callable[..., Any], *, has_hooks: bool) -> Callable[..., Any]:
        """The function, which is compiled if `compile_training` was called.

        Args:
            function: not bound to the module, as a copy of the module would share a bound method.
            has_hooks: whether hooks of tensors change its gradient.
        """
        return compiled(function, has_hooks) if self._is_compiled else function

    def on_after_backward(self) -> None:
        """Copy gradients that are accumulated, as replaying a CUDA graph overwrites its outputs."""
        super().on_after_backward()  # type: ignore[misc]
        module: Any = self
        if self._is_compiled and module.trainer.accumulate_grad_batches > 1:
            for weight in module.parameters():
                if weight.grad is not None:
                    weight.grad = weight.grad.clone()


@functools.cache
def compiled(function: Callable[..., Any], has_hooks: bool) -> Callable[..., Any]:
    """Compile a function, not bound to a module, that computes the loss of a batch.

    If it `has_hooks`, hooks of tensors change its gradient, which takes a single graph.

    Raises:
        ConfigError: at a call, if it cannot be compiled.
    """
    # The second option keeps random numbers equal to those of a module that is not compiled.
    options: dict[str, Any] = {"triton.cudagraphs": True, "fallback_random": True}
    compiled_function = torch.compile(function, fullgraph=has_hooks, options=options)

    def call(*arguments: Any) -> Any:
        try:
            return compiled_function(*arguments)
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
