"""A simulated second device, for tests on machines that only have a CPU.

Its tensors report the device "meta" and keep their numbers on the CPU. An operation on tensors of
both devices is an error, as on a GPU; so is float64, as on Apple's GPUs.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")


class SimulatedTensor(torch.Tensor):
    """A tensor on the simulated device; `held` is the CPU tensor with its numbers."""

    @staticmethod
    def __new__(cls, held):
        if held.dtype == torch.float64:
            raise TypeError("the simulated device has no float64")
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _dispatch(function, args, kwargs or {})


class SimulatedDevice(TorchDispatchMode):
    """While active, tensors moved to "meta" become simulated tensors and keep their numbers."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _dispatch(function, args, kwargs or {})


def _held(value):
    return value.held if isinstance(value, SimulatedTensor) else value


def _dispatch(function, args, kwargs):
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    simulated = [tensor for tensor in tensors if isinstance(tensor, SimulatedTensor)]
    moves = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    others = [t for t in tensors if not isinstance(t, SimulatedTensor) and t.dim()]
    if simulated and others and not moves:
        raise RuntimeError(f"{function}: tensors are on the CPU and on the simulated device")
    if kwargs.get("device") is not None:
        is_there = torch.device(kwargs["device"]) == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        is_there = bool(simulated)
    if function is torch.ops.aten.copy_.default:
        is_there = isinstance(args[0], SimulatedTensor)
    args, kwargs = tree_map(_held, (args, kwargs))
    result = function(*args, **kwargs)
    if not is_there:
        return result
    # An operation in place returns its own argument.
    known = {id(tensor.held): tensor for tensor in simulated}

    def simulate(value):
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else SimulatedTensor(value)

    return tree_map(simulate, result)
