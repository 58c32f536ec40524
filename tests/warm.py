"""Importing this does what takes long in every process that trains on the sample."""

import musigma.training  # noqa: F401
from musigma.data.sample import sample_digits

sample_digits(train=True)
