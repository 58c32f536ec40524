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
    # For the filter `tojson`, which also escapes text that could end a script element.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def render(template: str, package: str = "workbench", **values: Any) -> str:
    """Render a template of the workbench or of a package; text in the values is escaped."""
    return _environment(package).get_template(template).render(**values)


def figure_url(figure: Figure) -> str:
    """A plot as a `data:` URL."""
    return image_url(image_files(figure))


MOST_SVG_BYTES = 500_000
"""An SVG below this size is embedded even if the PNG is smaller: it is sharp at every zoom."""

DARK = """<style>@media (prefers-color-scheme: dark) {
svg { fill: #dddddd }
[style*="fill: #ffffff"] { fill: #151719 !important }
[style*="stroke: #ffffff"] { stroke: #151719 !important }
[style*="stroke: #000000"] { stroke: #bbbbbb !important }
[style*="fill: #000000"], [style*="fill: #222222"] { fill: #dddddd !important }
[style*="stroke: #222222"] { stroke: #bbbbbb !important }
[style*="stroke: #dddddd"] { stroke: #444444 !important }
}</style>"""
"""Colours of an SVG file from `image_files` on a dark page: light ink on a dark background."""


def image_files(figure: Figure) -> dict[str, bytes]:
    """A plot as PNG and SVG, by file ending. The layout, which is slow, is done only once."""
    if layout := figure.get_layout_engine():
        layout.execute(figure)
    figure.set_layout_engine("none")
    figure.set_dpi(150)
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)  # `savefig` would draw the plot twice
    FigureCanvasSVG(figure).print_svg(svg)
    return {"png": png.getvalue(), "svg": svg.getvalue()}


def image_url(files: dict[str, bytes]) -> str:
    """The files of `image_files` as one `data:` URL: the SVG unless it is large and the PNG not."""
    svg = re.sub(rb"(<svg\b[^>]*>)", lambda m: m[1] + DARK.encode(), files["svg"], count=1)
    if len(svg) < MOST_SVG_BYTES or len(svg) < len(files["png"]):
        return data_url("svg+xml", svg)
    return data_url("png", files["png"])


def data_url(kind: str, content: bytes) -> str:
    """An image file as a `data:` URL; `kind` is a subtype of `image/`."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
