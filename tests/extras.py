"""Packages that are extras, and whether they are here."""

import importlib.util
from importlib import metadata

import pytest
from packaging.version import Version

from workbench.config.settings import EXTRAS

OLDEST = {"optuna": Version("5.0")}
"""Packages of which others may have installed an older version than the extra wants."""


def is_here(module):
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
    return found and (module not in OLDEST or Version(metadata.version(module)) >= OLDEST[module])


MISSING = [package for package in EXTRAS.values() if not is_here(package)]


def needs(module):
    """The mark of a test that an extra's module is for; `conftest.py` skips it if there is none."""
    return pytest.mark.extras(module)
