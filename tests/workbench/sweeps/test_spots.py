"""Tooltips of a plot lie on the plot's points."""

import io

import numpy as np
import pytest
from PIL import Image

from workbench.pages.render import image_files
from workbench.plots.axes import one_plot
from workbench.sweeps.plots import spot_at


@pytest.mark.parametrize("point", [(1.0, 10.0), (3.0, 500.0)])
def test_a_spot_lies_on_its_point(point):
    figure, axes = one_plot("x", "y")
    axes.set(xlim=(0, 4), ylim=(1, 1000), yscale="log")
    axes.plot(*point, "o", color="#ff0000", markersize=8)
    with Image.open(io.BytesIO(image_files(figure)["png"])) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    spot = spot_at(axes, *point, "words")
    red = np.argwhere((pixels[..., 0] > 200) & (pixels[..., 1:].max(-1) < 60))
    height, width, _ = pixels.shape
    centre = np.array([spot.top * height, spot.left * width])
    assert np.abs(red.mean(0) - centre).max() < 2
