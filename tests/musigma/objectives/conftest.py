"""Draws of which objectives compute losses."""

import pytest

from objectives import draw_of


@pytest.fixture
def draw():
    return draw_of()
