"""The science that scripts import and the data they read, for the server in `workbench/warm.py`."""

import gc

import musigma.assemble
import musigma.callbacks.panels
import musigma.commands.evaluate
import musigma.metrics  # noqa: F401
from musigma.data.sample import sample_digits

sample_digits(train=True)
gc.freeze()  # or each fork would copy all that its garbage collector looks at
