"""Pages from what lies elsewhere: tables from the product, guides from notebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cimsim.config.knobs import find_knobs
from cimsim.stages.columns.registry import run_tables
from moe_mapping import policies
from romer.registry import METHODS, find_steps, number_of


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put generated tables where a page asks for them."""
    for marker, make in MARKERS.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(c) for c in row) + " |" for row in rows]
    return "\n".join(lines)


def _knobs() -> str:
    sections: dict[str, list[tuple[object, ...]]] = {}
    for knob in find_knobs():
        kinds = f" (only for {', '.join(knob.kinds)})" if knob.kinds else ""
        default = "must be given" if knob.mandatory else f"`{knob.default}`"
        row = (f"`{knob.path}`", f"{knob.meaning}{kinds}", knob.unit, knob.bounds, default)
        sections.setdefault(knob.path.split(".")[0], []).append(row)
    header = ("knob", "meaning", "unit", "range", "default")
    return "\n\n".join(f"## {name}\n\n{_table(header, rows)}" for name, rows in sections.items())


def _columns() -> str:
    header = ("column", "meaning", "unit", "formula", "empty when")
    parts = []
    for table in run_tables():
        rows: list[tuple[object, ...]] = [
            (f"`{c.name}`", c.meaning, c.unit, c.formula, c.empty_when) for c in table.columns
        ]
        parts.append(f"## {table.name}.csv\n\n{table.meaning}\n\n{_table(header, rows)}")
    return "\n\n".join(parts)


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0] if text else ""


def _policies() -> str:
    from moe_mapping.registry import policy_named

    rows: list[tuple[object, ...]] = [
        (f"`{name}`", _first_line(policy_named(name).__doc__)) for name in policies()
    ]
    return _table(("policy", "what it does"), rows)


def _methods() -> str:
    rows: list[tuple[object, ...]] = [
        (f"`{name}`", " then ".join(f"`{s}`" for s in steps) or "nothing")
        for name, steps in METHODS.items()
    ]
    return _table(("method", "steps"), rows)


def _steps() -> str:
    rows: list[tuple[object, ...]] = []
    for name, step in find_steps().items():
        what = number_of(name)
        number = f"{what.meaning}, {what.least:g} to {what.most:g}" if what else ""
        rows.append((f"`{name}`", _first_line(step.__doc__), number))
    return _table(("step", "what it does", "number after @"), rows)


MARKERS = {
    "{{ knobs }}": _knobs,
    "{{ columns }}": _columns,
    "{{ policies }}": _policies,
    "{{ methods }}": _methods,
    "{{ steps }}": _steps,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make a page of every notebook: its text, and its code in blocks."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            path = Path(config.docs_dir) / file.src_uri
            page = f"{file.src_uri.removesuffix('.ipynb')}.md"
            files.append(File.generated(config, page, content=notebook_markdown(path)))
    return files


def notebook_markdown(path: Path) -> str:
    """Return a notebook as markdown, with a link to itself below its title."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    title, _, rest = "\n\n".join(parts).partition("\n")
    return f"{title}\n\nThis page is [a notebook](../{path.name}).\n{rest}\n"
