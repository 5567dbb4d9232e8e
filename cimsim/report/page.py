"""A report as one HTML file: nothing from a network, readable without script, made to be printed.

Its scripts sort and filter tables, and let a reader point at the marks of charts; the page's policy
lets no other run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from cimsim.report.blocks import ReportSection
from cimsim.report.canvas import Picture

__all__ = ["html_page"]

# What a quoted attribute and the data scheme leave alone.
URI_SAFE = " '/:;=(),.-+!*$@?~[]{}|^"


def html_page(title: str, about: str, sections: Sequence[ReportSection]) -> str:
    """Return the page.

    Args:
        title: title of the report.
        about: one line below it.
        sections: what it says and shows.
    """
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["breakable"] = _breakable
    environment.filters["inline"] = _inline
    charts = any(block.kind == "chart" for section in sections for block in section.blocks)
    scripts = [_template("report.js"), *([_template("sweep.js")] if charts else [])]
    page = environment.get_template("report.html.j2").render(
        title=title,
        about=about,
        sections=sections,
        css=_template("report.css"),
        scripts=scripts,
        script_hashes=Markup(" ".join(map(_policy_source, scripts))),  # noqa: S704 - hashes
    )
    return page + "\n"


def _policy_source(script: str) -> str:
    """Return the name of a script in the page's policy: the hash of its text."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _template(name: str) -> str:
    return (files("cimsim.report") / "templates" / name).read_text(encoding="utf-8")


def _data_uri(picture: Picture) -> Markup:
    """Return a picture as an address; percent codes are shorter than base64 for SVG.

    Attributes of the SVG are put between single quotes, which an address may hold as they
    are; the only single quotes that were inside of attributes name fonts, and are optional.
    """
    svg = picture.svg.decode("utf-8").replace("\n", " ")
    svg = re.sub(r'"[^"<>]*"', lambda value: value.group().replace("'", ""), svg)
    address = quote(svg.replace('"', "'"), safe=URI_SAFE)
    return Markup(f"data:image/svg+xml,{address}")  # noqa: S704


def _inline(picture: Picture) -> Markup:
    """Return a picture as an element of the page, whose marks a script can reach."""
    svg = picture.svg.decode("utf-8")
    return Markup(svg[svg.index("<svg") :])  # noqa: S704 - drawn by us


def _breakable(value: str) -> Markup:
    """Let long names break after an underscore or dot, and nowhere else."""
    return Markup(re.sub(r"([_.])(?=[A-Za-z])", r"\1<wbr>", str(escape(value))))  # noqa: S704
