"""The science that scripts import and the data they read, for the server in `workbench/warm.py`."""

from musigma.data.sample import sample_digits

sample_digits(train=True)
