"""The machinery that scripts import, for the server in `warm.py`: each of them is a fork of it."""

# ruff: noqa: E402
import gc
import os

os.fsync = lambda file: None  # as in `running.py`

from workbench.fewer_imports import import_torchmetrics

import_torchmetrics()

import hydra.main  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import workbench.config.command_line
import workbench.script
import workbench.sweeps.report
import workbench.training.run  # noqa: F401

gc.freeze()  # or each fork would copy all that its garbage collector looks at
