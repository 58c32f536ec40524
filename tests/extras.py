"""Packages that are extras, and whether they are here."""

import importlib.util

import pytest

from workbench.config.settings import EXTRAS


def is_here(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


MISSING = [package for package in EXTRAS.values() if not is_here(package)]


def needs(module):
    """The mark of a test that an extra's module is for; `conftest.py` skips it if there is none."""
    return pytest.mark.extras(module)
