"""Import the science and read the data once, for the processes of `workbench/script_server.py`."""

import gc

import musigma.assemble
import musigma.callbacks.panels
import musigma.commands.evaluate
import musigma.metrics  # noqa: F401
from musigma.data.sample import sample_digits

sample_digits(train=True)
gc.freeze()  # otherwise the collector touches every object, and each fork copies all memory
