"""Shared by the tests of the science."""

import functools

import pytest

from musigma.evaluation.amortization import best_elbo


@pytest.fixture(autouse=True)
def _short_search(monkeypatch):
    """The best posterior of an image is searched for in 20 steps: 300 are most of an evaluation.

    `test_amortization.py` takes them all, and so do the scripts.
    """
    monkeypatch.setattr("musigma.measuring.best_elbo", functools.partial(best_elbo, steps=20))
