"""Import the machinery once, for the processes of `script_server.py`."""

# ruff: noqa: E402
import gc
import os

os.fsync = lambda file: None  # as in `running.py`: no test outlives a power failure

from workbench.fewer_imports import import_torchmetrics

import_torchmetrics()

import hydra.main  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import workbench.jobs.command_line
import workbench.script
import workbench.sweeps.report
import workbench.training.run  # noqa: F401

gc.freeze()  # otherwise the collector touches every object, and each fork copies all memory
