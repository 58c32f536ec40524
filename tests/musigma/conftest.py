"""Shared by the tests of the science."""

import functools

import pytest

from musigma.evaluation.amortization import best_elbo
from workbench.config.files import ConfigFiles
from workbench.project import the_project


@pytest.fixture(autouse=True)
def _short_search(monkeypatch):
    """The best posterior of an image is searched for in 20 steps: 300 are most of an evaluation.

    `test_amortization.py` takes them all, and so do the scripts.
    """
    monkeypatch.setattr(
        "musigma.commands.measure.best_elbo", functools.partial(best_elbo, steps=20)
    )


@pytest.fixture
def jobs(compose_launch, tmp_path):
    """A name and lists of overrides → the jobs of a sweep of that name."""
    from stacking import jobs_of

    return lambda sweep, *lists: jobs_of(compose_launch, tmp_path / sweep, *lists)


@pytest.fixture
def undrawn(monkeypatch):
    """Runs are measured, and no picture is drawn: that takes most of the time."""
    monkeypatch.setattr("musigma.commands.evaluate.plots_of", lambda *_: iter([]))


@pytest.fixture
def unrendered(monkeypatch):
    """Plots are made, and no file of them, which is most of an evaluation."""
    empty = {"png": b"", "svg": b"<svg></svg>"}
    monkeypatch.setattr("musigma.plots.named.image_files", lambda figure: empty)


_files = {}


class _Kept(ConfigFiles):
    """Files as they lie in `configs`; what a test has in a folder of its own is read anew."""

    def compose(self, choices):
        chosen = super().compose(choices)
        if any("hydra.searchpath" in choice for choice in choices):
            self._composed.pop(choices)
            self._defaults.pop(choices, None)
        return chosen


def _kept(config_name, parse):
    configs = the_project().configs
    stamps = sorted((path, path.stat().st_mtime_ns) for path in configs.rglob("*.yaml"))
    place = (config_name, *stamps)  # a test may add a file
    if place not in _files:
        _files[place] = _Kept(config_name, parse)
    return _files[place]


@pytest.fixture(autouse=True)
def _composed_once(monkeypatch):
    """Each choice of config files is composed once for all tests: that is most of many."""
    monkeypatch.setattr("workbench.config.compose.ConfigFiles", _kept)
