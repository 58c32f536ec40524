"""Render values and plots as one self-contained HTML page."""

import base64
import functools
import io
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@functools.cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader("workbench", "pages"), PackageLoader(package, "pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, package: str = "workbench", **values: Any) -> str:
    """A page, from a template of the workbench or of a package; text in the values is escaped."""
    return _environment(package).get_template(template).render(**values)


def embedded(figure: Figure) -> str:
    """A plot as a `data:` address, SVG or PNG, whichever is smaller."""
    return smaller(image_files(figure))


def image_files(figure: Figure) -> dict[str, bytes]:
    """A plot as PNG and SVG, by their endings; it is laid out once, which takes the time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    figure.set_dpi(150)
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)  # `savefig` draws each twice
    FigureCanvasSVG(figure).print_svg(svg)
    return {"png": png.getvalue(), "svg": svg.getvalue()}


def smaller(files: dict[str, bytes]) -> str:
    """The smaller of the files of `image_files`, as a `data:` address."""
    return min(address("svg+xml", files["svg"]), address("png", files["png"]), key=len)


def address(kind: str, content: bytes) -> str:
    """An image file as a `data:` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
