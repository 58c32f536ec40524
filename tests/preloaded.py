"""What scripts import and read, for the server in `warm.py`: each of them is a fork of it."""

import hydra.main  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import workbench.config.command_line
import workbench.script
import workbench.sweeps.report
import workbench.training  # noqa: F401
from musigma.data.sample import sample_digits

sample_digits(train=True)
