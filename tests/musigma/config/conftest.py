"""Tests that read command lines: each choice of config files is composed once for all of them."""

import pytest

from workbench.config.files import Files
from workbench.project import the_project

_files = {}


class _Kept(Files):
    """Files as they lie in `configs`; what a test has in a folder of its own is read anew."""

    def choose(self, choices):
        chosen = super().choose(choices)
        if any("hydra.searchpath" in choice for choice in choices):
            self._chosen.pop(choices)
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
    monkeypatch.setattr("workbench.config.compose.Files", _kept)
