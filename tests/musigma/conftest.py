"""Fixtures of the tests of the science."""

import functools

import pytest

from musigma.evaluation.amortization import best_elbo
from workbench.jobs.files import ConfigFiles
from workbench.project import the_project


@pytest.fixture(autouse=True)
def _short_search(monkeypatch):
    """Search for the best posterior of an image in 20 steps: 300 take most of an evaluation.

    `test_amortization.py` and the scripts take all 300.
    """
    monkeypatch.setattr(
        "musigma.commands.density.best_elbo", functools.partial(best_elbo, steps=20)
    )


@pytest.fixture
def jobs(compose_launch, tmp_path):
    """The name of a sweep and lists of overrides → its jobs."""
    from stacking import jobs_of

    return lambda sweep, *lists: jobs_of(compose_launch, tmp_path / sweep, *lists)


@pytest.fixture
def without_plots(monkeypatch):
    """Let evaluations make no plots, which take most of the time."""
    monkeypatch.setattr("musigma.commands.evaluate.plots_of", lambda *_: iter([]))


@pytest.fixture
def without_plot_files(monkeypatch):
    """Let evaluations make plots but no files of them, which take most of the time."""
    empty = {"png": b"", "svg": b"<svg></svg>"}
    monkeypatch.setattr("musigma.plots.named.image_files", lambda figure: empty)


_files = {}


class _CachedFiles(ConfigFiles):
    """Config files that are composed once; files on a search path of a test are not cached."""

    def compose(self, choices):
        chosen = super().compose(choices)
        if any("hydra.searchpath" in choice for choice in choices):
            self._composed.pop(choices)
            self._defaults.pop(choices, None)
        return chosen


def _cached_files(config_name):
    configs = the_project().configs
    stamps = sorted((path, path.stat().st_mtime_ns) for path in configs.rglob("*.yaml"))
    key = (config_name, *stamps)  # a test may add a file
    if key not in _files:
        _files[key] = _CachedFiles(config_name)
    return _files[key]


@pytest.fixture(autouse=True)
def _composed_once(monkeypatch):
    """Compose each choice of config files once for all tests: it takes most of many tests."""
    monkeypatch.setattr("workbench.jobs.compose.ConfigFiles", _cached_files)
