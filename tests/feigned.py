"""A second device for machines that have none, whose tensors hold real numbers.

Its tensors say that they are on the device "meta" and keep their numbers on the CPU. An operation
on tensors of both devices is an error, as on a GPU; so is float64, as on Apple's.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")


class Feigned(torch.Tensor):
    """A tensor on the second device."""

    @staticmethod
    def __new__(cls, held):
        if held.dtype == torch.float64:
            raise TypeError("the feigned device has no float64")
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


class FeignedDevice(TorchDispatchMode):
    """While it is active, what is moved to "meta" keeps its numbers."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _dispatch(function, args, kwargs or {})


def _dispatch(function, args, kwargs):
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    feigned = [tensor for tensor in tensors if isinstance(tensor, Feigned)]
    moves = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    others = [t for t in tensors if not isinstance(t, Feigned) and t.dim()]
    if feigned and others and not moves:
        raise RuntimeError(f"{function}: tensors are on the CPU and on the feigned device")
    made_there = kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE
    if "device" in kwargs and kwargs["device"] is not None:
        is_there = made_there
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        is_there = bool(feigned)
    if function is torch.ops.aten.copy_.default:
        is_there = isinstance(args[0], Feigned)
    args, kwargs = tree_map(lambda a: a.held if isinstance(a, Feigned) else a, (args, kwargs))
    result = function(*args, **kwargs)
    if not is_there:
        return result
    same = {id(tensor.held): tensor for tensor in feigned}

    def back(value):
        if not isinstance(value, torch.Tensor):
            return value
        return same.get(id(value)) if id(value) in same else Feigned(value)

    return tree_map(back, result)
