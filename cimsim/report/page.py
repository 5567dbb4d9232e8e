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

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from cimsim.report.blocks import ReportSection
from cimsim.report.canvas import Picture

__all__ = ["html_page"]

# What colours of figures become where the page is dark: as far from its paper as before.
DARK = {
    "#ffffff": "#171c21",
    "#1f2933": "#e6e9ec",
    "#000000": "#e6e9ec",
    "#52606d": "#a8b2bc",
    "#e3e6ea": "#313a43",
    "#eceff2": "#262e36",
    "#eef1f4": "#262e36",
    "#2166ac": "#5fa3dd",
    "#762a83": "#b57fc2",
    "#5c6670": "#8f9aa5",
    "#3b4cc0": "#8591ee",
    "#b2182b": "#e8707d",
    "#8c510a": "#c9924a",
    "#4d9221": "#7cb94f",
    "#2a9d5c": "#4cbd7d",
}


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
    environment.filters["breakable"] = _breakable
    environment.filters["inline"] = _inline
    charts = any(block.kind == "chart" for section in sections for block in section.blocks)
    scripts = [_template("report.js"), *([_template("sweep.js")] if charts else [])]
    page = environment.get_template("report.html.j2").render(
        title=title,
        about=about,
        sections=sections,
        css=_theme() + _template("report.css"),
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


def _inline(picture: Picture, own: str = "") -> Markup:
    """Return a picture as an element of the page, in the page's colours, light or dark.

    Args:
        picture: the drawing.
        own: what its ids begin with, so that they are its own; "" where a script knows them.
    """
    svg = picture.svg.decode("utf-8")
    svg = svg[svg.index("<svg") :]
    # A style inside of a page is the whole page's: it stands in the page's own.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"#[0-9a-f]{6}\b(?=[;\"'])", lambda found: _themed(found.group()), svg)
    if own:
        svg = re.sub(r'(?<= )id="', f'id="{own}', svg)
        svg = re.sub(r'(url\(#|href="#)', rf"\1{own}", svg)
    return Markup(svg)  # noqa: S704 - drawn by us


def _themed(colour: str) -> str:
    """Return a colour of figures as the page's variable for it."""
    return f"var(--{colour[1:]})" if colour in DARK else colour


def _theme() -> str:
    """Return the variables of the colours of figures, for light and for dark pages."""
    light, dark = (
        "".join(f"--{name[1:]}:{value};" for name, value in pairs)
        for pairs in (((c, c) for c in DARK), DARK.items())
    )
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _breakable(value: str) -> Markup:
    """Let long names break after an underscore or dot, and nowhere else."""
    return Markup(re.sub(r"([_.])(?=[A-Za-z])", r"\1<wbr>", str(escape(value))))  # noqa: S704
