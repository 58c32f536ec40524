"""Imports that no run uses, left out so that commands start sooner."""

import gc
import importlib.util
import sys
from types import ModuleType


def import_torchmetrics() -> None:
    """Import torchmetrics, which Lightning needs, without `scipy.signal`, which takes as long.

    It is imported there for one name alone, `hamming`, which torchmetrics adds to it for a package
    that measures sound. Whoever imports `scipy.signal` afterwards gets it as SciPy has it.

    This imports torch too, and makes half a million objects that stay. The garbage collector would
    look at all of them again and again: it is off meanwhile, and ignores them from then on.
    """
    if "scipy.signal" in sys.modules or "torchmetrics" in sys.modules:
        return
    if importlib.util.find_spec("torchmetrics") is None:  # Lightning will say so
        return
    stand_in = ModuleType("scipy.signal")
    vars(stand_in)["hamming"] = None
    sys.modules["scipy.signal"] = stand_in
    collects = gc.isenabled()
    gc.disable()
    try:
        import torchmetrics  # noqa: F401
    finally:
        del sys.modules["scipy.signal"]
        gc.freeze()
        if collects:
            gc.enable()
