"""Tests that known mistakes are noticed by the checks of what they break."""

import pytest


def trap_tests(traps):
    """Make two tests: each check passes, and fails with its mistake in place.

    Args:
        traps: function that makes a mistake with a monkeypatch → check that has to notice it.
    """

    @pytest.mark.parametrize("check", dict.fromkeys(traps.values()), ids=lambda f: f.__name__)
    def oracles_hold(check):
        check()

    @pytest.mark.slow
    @pytest.mark.parametrize("trap", traps, ids=lambda f: f.__name__)
    def trap_is_caught(trap, monkeypatch):
        trap(monkeypatch)
        # A check that expects an error, and sees none, raises the second one.
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            traps[trap]()

    return oracles_hold, trap_is_caught
