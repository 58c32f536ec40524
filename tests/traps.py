"""Make tests that put known mistakes in place, which the checks must notice."""

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
        # `pytest.raises` in a check that sees no error raises `pytest.fail.Exception`.
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            traps[trap]()

    return oracles_hold, trap_is_caught
