"""Packages that are extras, and whether they are here."""

import importlib.util

import pytest

from musigma.config.settings import EXTRAS

MISSING = [package for package in EXTRAS.values() if not importlib.util.find_spec(package)]


def needs(package):
    return pytest.mark.skipif(package in MISSING, reason=f"{package} is not installed")
