"""Leaving out an import that no run uses, so that commands start sooner."""

import gc
import importlib.util
import sys
from types import ModuleType


def import_torchmetrics() -> None:
    """Import torchmetrics, which Lightning needs, without `scipy.signal`, which takes as long.

    torchmetrics imports `scipy.signal` only to set its `hamming`, for an audio package. A later
    import of `scipy.signal` finds SciPy's own module.

    torch is imported with it. The garbage collector would scan their half a million permanent
    objects again and again: it is off during the import, and ignores them from then on.
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
