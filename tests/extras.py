"""Which extras are installed, and the mark of tests that need one."""

import importlib.util
from importlib import metadata

import pytest
from packaging.version import Version

from workbench.config.settings import EXTRAS

OLDEST = {"optuna": Version("5.0")}
"""Packages of which an older version than the extra requires may be installed."""


def is_here(module):
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False
    return found and (module not in OLDEST or Version(metadata.version(module)) >= OLDEST[module])


MISSING = [package for package in EXTRAS.values() if not is_here(package)]


def needs(module):
    """The mark of a test that needs a module of an extra; `conftest.py` skips it without one."""
    return pytest.mark.extras(module)
