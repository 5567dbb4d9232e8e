"""The report as one HTML file: no script, nothing from a network, made to be printed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from cimsim.report.canvas import Picture
from cimsim.report.content import FILES, ChipContent, Content
from cimsim.report.figures import Figures
from cimsim.report.findings import ROMER
from cimsim.results import Column, RunResults

__all__ = ["html_page"]

CONTENTS = (
    ("findings", "Findings"),
    ("accuracy", "Accuracy"),
    ("scale", "Full-size model"),
    ("peak", "Peak"),
    ("calibration", "Calibration"),
    ("tiny", "Speed and energy"),
    ("chips", "Chip by chip"),
    ("basis", "What the numbers mean"),
    ("glossary", "Glossary"),
    ("files", "Files"),
)
# What a quoted attribute and the data scheme leave alone.
URI_SAFE = " '/:;=(),.-+!*$@?~[]{}|^"
GLOSSARY = ("results", "scale", "peak")


@dataclass(frozen=True)
class _Chip:
    content: ChipContent
    pictures: tuple[Picture, ...]

    @property
    def design(self) -> object:
        return self.content.design

    @property
    def anchor(self) -> str:
        return f"chip-{self.content.design.index}"

    @property
    def about(self) -> str:
        return self.content.about

    @property
    def notes(self) -> tuple[str, ...]:
        return self.content.design.chip.notes

    @property
    def layers(self) -> object:
        return self.content.layers

    @property
    def energies(self) -> object:
        return self.content.energies


def html_page(run: RunResults, content: Content, figures: Figures) -> str:
    """Return the page.

    Args:
        run: the results, for the glossary of their columns.
        content: what the page says.
        figures: what it shows.
    """
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["breakable"] = _breakable
    chips = [
        _Chip(chip, pictures) for chip, pictures in zip(content.chips, figures.chips, strict=True)
    ]
    page = environment.get_template("report.html.j2").render(
        title=f"cimsim: {content.title}",
        css=_template("report.css"),
        about=content.about,
        contents=[c for c in CONTENTS if c[0] != "scale" or content.scale is not None],
        findings=content.findings,
        warnings=content.warnings,
        accuracy=content.accuracy,
        scale=content.scale,
        peak=content.peak,
        calibration=content.calibration,
        speed=content.speed,
        cost=content.cost,
        switching=content.switching,
        chips=chips,
        basis=content.basis,
        romer=ROMER,
        figures=figures,
        glossary=_glossary(run),
        files=FILES,
    )
    return page + "\n"


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


def _breakable(value: str) -> Markup:
    """Let long names break after an underscore or dot, and nowhere else."""
    return Markup(re.sub(r"([_.])(?=[A-Za-z])", r"\1<wbr>", str(escape(value))))  # noqa: S704


def _glossary(run: RunResults) -> list[tuple[str, tuple[Column[Any], ...]]]:
    return [(t.name, t.columns) for t in run.schema if t.name in GLOSSARY]
