"""The choice of the device that a trained model is used on."""

import re
from typing import Annotated

import torch
from pydantic import AfterValidator

from workbench.errors import ConfigError

PREFERRED = ("cuda", "mps", "cpu")
"""The kinds of device, in the order in which `auto` tries them."""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise ValueError("should be auto, cpu, cuda, cuda:1 (the second GPU) or mps")
    return name


DeviceName = Annotated[str, AfterValidator(_check_name)]
"""`auto`, `cpu`, `cuda`, `cuda:1` and so on, or `mps`."""


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is an NVIDIA or AMD GPU, else Apple's, else the CPU.

    Raises:
        ConfigError: if the name is not valid, or this machine does not have the device.
    """
    try:
        _check_name(name)
    except ValueError as error:
        raise ConfigError(f"device={name}: {error}") from error
    if name == "auto":
        name = next(kind for kind in PREFERRED if _count(kind))
    device = torch.device(name)
    count = _count(device.type)
    if (device.index or 0) >= count:
        has = f"{count} of that kind" if count else "none"
        raise ConfigError(
            f"device={name}: torch {torch.__version__} finds {has} on this machine; use "
            "device=auto or device=cpu"
        )
    return device


def exact_device(name: str) -> torch.device:
    """As `find_device`, with convolutions on a GPU computed in float32 instead of TF32."""
    device = find_device(name)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return device


def _count(kind: str) -> int:
    """The number of devices of a kind that torch can use here."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(kind == "cpu" or torch.backends.mps.is_available())
