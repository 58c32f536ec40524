"""From values and figures to one self-contained HTML file."""

import base64
import functools
import io
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
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
    """A page, of a template of the workbench or of a package; text among the values is escaped."""
    return _environment(package).get_template(template).render(**values)


def embedded(figure: Figure) -> str:
    """A figure as a `data:` address, SVG or PNG, whichever is smaller."""
    files = []
    for kind, suffix in (("svg+xml", "svg"), ("png", "png")):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=120)
        files.append(address(kind, buffer.getvalue()))
    return min(files, key=len)


def address(kind: str, content: bytes) -> str:
    """A picture as a `data:` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
