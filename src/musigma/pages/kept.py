"""A picture as a page and a folder hold it."""

import logging
from typing import NamedTuple

from musigma.figures.latent_space import Drawing
from workbench.pages.render import image_files, smaller

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A picture; of one that is left out the caption says why.

    Args:
        name: of its files.
        caption: what it shows.
        source: the `data:` address of the page; empty if left out.
        files: what its files hold, by their names; none if left out.
    """

    name: str
    caption: str
    source: str
    files: dict[str, bytes]


def kept(drawing: Drawing) -> Kept:
    """Draw it; one that cannot be drawn is left out."""
    if drawing.draw is None:
        return Kept(drawing.name, drawing.caption, "", {})
    try:
        files = image_files(drawing.draw())
        named = {f"{drawing.name}.{ending}": content for ending, content in files.items()}
        return Kept(drawing.name, drawing.caption, smaller(files), named)
    except Exception as error:  # one picture must not cost what was measured
        log.warning("%s cannot be drawn: %s", drawing.name, error)
        return Kept(drawing.name, f"left out: it cannot be drawn: {error}", "", {})
