"""Known mistakes, each of which the check of what it breaks has to notice."""

import pytest


def trap_tests(traps):
    """Two tests: that each check passes, and that with the mistake in place it does not.

    Args:
        traps: a function that puts a mistake in with a monkeypatch → the check that notices it.
    """

    @pytest.mark.parametrize("check", dict.fromkeys(traps.values()), ids=lambda f: f.__name__)
    def oracles_hold(check):
        check()

    @pytest.mark.slow
    @pytest.mark.parametrize("trap", traps, ids=lambda f: f.__name__)
    def trap_is_caught(trap, monkeypatch):
        trap(monkeypatch)
        with pytest.raises(AssertionError):
            traps[trap]()

    return oracles_hold, trap_is_caught
