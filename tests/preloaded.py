"""The science that scripts import and the data they read, for the server in `workbench/warm.py`."""

import musigma.assemble
import musigma.evaluating
import musigma.metrics
import musigma.panels  # noqa: F401
from musigma.data.sample import sample_digits

sample_digits(train=True)
