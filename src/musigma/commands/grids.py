"""Pictures of many images in a grid."""

from collections.abc import Sequence

from torch import Tensor
from torchvision.utils import make_grid

from musigma.plots.style import viewable
from workbench.errors import ConfigError

MOST_PIXELS = 50_000_000
"""The most pixels of a picture, about 7,000 on each side."""


def grid_of(x: Tensor, columns: int | None = None) -> Tensor:
    """Images `[N, C, H, W]` in [0, 1] as one picture, `[3, H, W]`; by default about square."""
    columns = columns or max(1, round(len(x) ** 0.5))
    return make_grid(viewable(x), nrow=columns, padding=1, pad_value=0.5)


def most_in_a_grid(image_shape: Sequence[int]) -> int:
    """The number of images in a picture of `MOST_PIXELS`, which viewers open without asking."""
    _, height, width = image_shape
    return max(1, MOST_PIXELS // ((height + 1) * (width + 1)))


def check_fits(image_shape: Sequence[int], count: int, setting: str) -> None:
    """Raise a ConfigError if a picture cannot hold that many images."""
    if count > (most := most_in_a_grid(image_shape)):
        raise ConfigError(
            f"{setting}: a grid of images of this size holds at most {most:,}; make the rest "
            "with another command, with another seed or other offsets"
        )
