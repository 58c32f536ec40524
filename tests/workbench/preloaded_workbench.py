"""The machinery that scripts import, for the server in `warm.py`: each of them is a fork of it."""

import hydra.main  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import workbench.config.command_line
import workbench.script
import workbench.sweeps.report
import workbench.training  # noqa: F401
