"""Plots of rate and distortion."""

import pytest

from musigma.plots.rate_distortion import Point, plot_rate_distortion
from workbench.pages.render import image_files


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_axes_of_a_rate_distortion_plot():
    named = "freeze=['encoder'], _target_=users.package.Long, limit_train_batches=300, " * 5
    for count in (1, 12):
        points = [Point(f"{i} {named}", i, 90 - i, series=f"{i} {named}") for i in range(count)]
        figure = plot_rate_distortion(points)
        image_files(figure)
        width, height = figure.axes[0].get_window_extent().size / figure.dpi  # inches
        assert width > 2
        assert height > 2
