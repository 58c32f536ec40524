"""Render values and plots as one self-contained HTML page."""

import base64
import functools
import io
import re
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@functools.cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("workbench", "pages"), PackageLoader(package, "pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Of `tojson`, which escapes what could end a script element.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def render(template: str, package: str = "workbench", **values: Any) -> str:
    """A page, from a template of the workbench or of a package; text in the values is escaped."""
    return _environment(package).get_template(template).render(**values)


def embedded(figure: Figure) -> str:
    """A plot as a `data:` address, SVG or PNG, whichever is smaller."""
    return smaller(image_files(figure))


MOST_BYTES_OF_SVG = 500_000
"""Up to this an SVG is embedded even if the PNG is smaller: it is sharp at every size."""

DARK = """<style>@media (prefers-color-scheme: dark) {
svg { fill: #dddddd }
[style*="fill: #ffffff"] { fill: #151719 !important }
[style*="stroke: #ffffff"] { stroke: #151719 !important }
[style*="stroke: #000000"] { stroke: #bbbbbb !important }
[style*="fill: #000000"], [style*="fill: #222222"] { fill: #dddddd !important }
[style*="stroke: #222222"] { stroke: #bbbbbb !important }
[style*="stroke: #dddddd"] { stroke: #444444 !important }
}</style>"""
"""For an SVG file of `image_files` on a page in the dark: light ink on the page's ground."""


def image_files(figure: Figure) -> dict[str, bytes]:
    """A plot as PNG and SVG, by their endings; it is laid out once, which takes the time."""
    if layout := figure.get_layout_engine():
        layout.execute(figure)
    figure.set_layout_engine("none")
    figure.set_dpi(150)
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)  # `savefig` draws each twice
    FigureCanvasSVG(figure).print_svg(svg)
    return {"png": png.getvalue(), "svg": svg.getvalue()}


def smaller(files: dict[str, bytes]) -> str:
    """The smaller of the files of `image_files`, as a `data:` address; SVG up to 500 kB."""
    svg = re.sub(rb"(<svg\b[^>]*>)", lambda m: m[1] + DARK.encode(), files["svg"], count=1)
    if len(svg) < MOST_BYTES_OF_SVG or len(svg) < len(files["png"]):
        return address("svg+xml", svg)
    return address("png", files["png"])


def address(kind: str, content: bytes) -> str:
    """An image file as a `data:` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
