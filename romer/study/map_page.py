"""The page of the map: for which errors the two steps work, and whether chips reach them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cimsim.report.blocks import Block, Bullets, Field, Grid, Illustration, ReportSection, Text
from cimsim.report.canvas import Picture
from cimsim.report.markdown import markdown_report
from cimsim.text_file import write_whole
from romer.study.map_plan import CLASSES, MapPlan
from romer.study.map_tables import ENDPOINTS, cell_of, smallest_sizes
from romer.study.summary import write_table

__all__ = ["write_map"]

Row = dict[str, Any]
HYPOTHESIS = 0.10
HALF_WIDTH = 0.10
ALPHA = 0.05

READING = """\
The two steps are our reading of ROMER (arXiv 2605.11800), whose equations are not public in full:
of each step the variant, threshold and lambda with the least expected loss on calibration documents
that no fit saw, kept only if it passes the guard. Shares are of the gap to the clean model in nats:
before trimming of the untreated chip's gap, after trimming of what trimming leaves. A destroyed
model has no share: in a collapse any change shows tens of per cent."""


def write_map(plan: MapPlan, rows: Sequence[Row], out: Path) -> None:
    """Write map.csv, report.md, report.html and figures.

    Args:
        plan: of the map; the page says how many of its cells are missing.
        rows: of the cells that are whole, from `map_rows`.
        out: folder of the results.
    """
    from cimsim.report.page import html_page  # noqa: PLC0415 - half a second to import
    from romer.study.map_figures import map_figures  # noqa: PLC0415

    write_table(rows, out / "map.csv")
    pictures = map_figures(rows)
    for drawn in pictures:
        write_whole(out / "figures" / f"{drawn.name}.svg", drawn.svg)
    about = "Errors of chips under which the paper's two steps alone win, after the plan."
    if plan.reduced:
        about = "A reduced version of the map's plan: few chips and little text."
    places, there = len(plan.places()), len({cell_of(r) for r in rows})
    if missing := places - there:
        about += f" {missing} of its {places} cells are not measured yet."
    told = "Where ROMER works", about, _sections(plan, rows, pictures)
    write_whole(out / "report.md", markdown_report(*told, fit=False).encode("utf-8"))
    write_whole(out / "report.html", html_page(*told).encode("utf-8"))


def _sections(
    plan: MapPlan, rows: Sequence[Row], pictures: Sequence[Picture]
) -> tuple[ReportSection, ...]:
    blocks: dict[str, tuple[Block, ...]] = {
        "Answer": (Bullets(tuple(_answers(rows))), Text(READING)),
        "Smallest error at which the two steps close half": (_smallest(rows),),
        "Phase diagrams": tuple(Illustration(p, brief=True) for p in pictures),
        **_with_intervals(plan, rows),
    }
    for parts in plan["parts"]:
        title = f"All treatments, {parts.replace('_', ' ')}"
        blocks[title] = (_treatments(title, [r for r in rows if r["parts"] == parts]),)
    if _harmed(rows):
        blocks["Where the guarded steps raise the loss"] = (_where_harmed(rows),)
    if any(map(_destroyed, rows)):
        blocks["Destroyed before treatment"] = (_where_destroyed(rows),)
    blocks["Limits"] = (
        Text(
            "Small models trained by us; errors are drawn independently of each other, one kind "
            "at a time on top of 2.2 LSB of every cell; text is technical English. What is "
            "assumed of sizes stands in the plan."
        ),
    )
    return tuple(
        ReportSection(title.split(",")[0].lower().replace(" ", "_") + str(i), title, found)
        for i, (title, found) in enumerate(blocks.items())
    )


def _with_intervals(plan: MapPlan, rows: Sequence[Row]) -> dict[str, tuple[Block, ...]]:
    """Return the cells whose intervals are told: the primary ones, all of a plan without any."""
    if not plan["primary"]["cells"]:
        return {"Every cell": (_grid("Every cell", rows),)}
    return {"Primary cells": (_grid("Primary cells", [r for r in rows if r["primary"]]),)}


def _answers(rows: Sequence[Row]) -> list[str]:
    """Say in sentences what the primary cells and the map found."""
    found = []
    primary = [r for r in rows if r["primary"] and not math.isnan(r["share_closed"])]
    after = [r for r in primary if r["treatment"] == ENDPOINTS[1] and r["size_class"] == "typical"]
    if after:
        under = [r for r in after if r["share_closed"] < HYPOTHESIS]
        found.append(
            f"Hypothesis (typical sizes, after trimming, under 10 %): holds in {len(under)} of "
            f"{len(after)} primary cells with a gap."
        )
    smallest = smallest_sizes(rows)
    found += [
        f"The two steps close half or more {word} trimming: {_won(smallest, word)}."
        for word in ("before", "after")
    ]
    if primary:
        wide = [r for r in primary if (r["share_high"] - r["share_low"]) / 2 > HALF_WIDTH]
        found.append(
            f"Precision: {len(primary) - len(wide)} of {len(primary)} primary cells with a gap "
            f"have a half-width of 10 points or less."
        )
    harm = _harmed(rows)
    worst = f", by {_rise(harm[-1]):.4f} to {_rise(harm[0]):.4f} nats: listed below" if harm else ""
    found.append(
        f"The guarded steps raise the loss significantly (p < {ALPHA}, corrected in primary cells "
        f"alone) in {len(harm)} of {sum(r['treatment'] in ENDPOINTS for r in rows)} places{worst}."
    )
    gone = len(dict.fromkeys(cell_of(r) for r in rows if _destroyed(r)))
    cells = len(dict.fromkeys(cell_of(r) for r in rows))
    listed = ", listed below" if gone else ""
    found.append(f"Destroyed before treatment: {gone} of {cells} cells{listed}.")
    return found


def _harmed(rows: Sequence[Row]) -> list[Row]:
    """Return where the guarded steps raise the loss, the most first."""
    found = [
        r for r in rows if r["treatment"] in ENDPOINTS and _rise(r) > 0 and r["p_value"] < ALPHA
    ]
    return sorted(found, key=_rise, reverse=True)


def _rise(r: Row) -> float:
    return float(r["nll_after"] - r["nll_before"])


def _destroyed(r: Row) -> bool:
    return bool(r["destroyed"]) and r["starts_at"] == "untreated"


def _where_harmed(rows: Sequence[Row]) -> Grid:
    fields = [
        *_where(),
        Field[Row]("starts from", lambda r: r["starts_at"], "from", words=True),
        Field[Row]("gap, nats", lambda r: f"{r['gap_nats']:.3f}", "gap"),
        Field[Row]("rise, nats", lambda r: f"{_rise(r):.4f}", "rise"),
        Field[Row]("steps kept", lambda r: r["steps"], "", words=True),
    ]
    return Grid.of("Where the guarded steps raise the loss", fields, [("", _harmed(rows))])


def _where_destroyed(rows: Sequence[Row]) -> Grid:
    """Return the sizes that leave no working model, a row a model, kind and parts."""
    sizes: dict[tuple[str, str, str], dict[str, None]] = {}
    for r in filter(_destroyed, rows):
        at = r["model"], r["error"], r["parts"]
        sizes.setdefault(at, {})[f"{r['size']:g}"] = None
    lines = [
        {"model": model, "error": error, "parts": parts, "sizes": ", ".join(found)}
        for (model, error, parts), found in sizes.items()
    ]
    fields = [
        Field[Row]("model", lambda line: line["model"], "model", words=True),
        Field[Row]("error", lambda line: line["error"], "error", words=True),
        Field[Row]("parts", lambda line: line["parts"], "parts", words=True),
        Field[Row]("sizes", lambda line: line["sizes"], "sizes", words=True),
    ]
    return Grid.of("Destroyed before treatment", fields, [("", lines)])


def _won(smallest: Sequence[Row], word: str) -> str:
    """Say from which class of sizes on the two steps close half of the gap, by error and parts."""
    models = dict.fromkeys(row["model"] for row in smallest)
    by_error: dict[str, list[str]] = {}
    for row in smallest:
        size = row[f"{word} trimming"]
        if size != "-":
            name = f"{row['error']} ({row['parts'].replace('_', ' ')})"
            by_error.setdefault(name, []).append(size.split("(")[1].rstrip(")"))
    return (
        "; ".join(
            f"{name} from {min(classes, key=CLASSES.index)} sizes on, {len(classes)} of "
            f"{len(models)} models"
            for name, classes in by_error.items()
        )
        or "in no cell"
    )


def _smallest(rows: Sequence[Row]) -> Grid:
    fields = [
        Field[Row]("model", lambda r: r["model"], "model", words=True),
        Field[Row]("error", lambda r: r["error"], "error", words=True),
        Field[Row]("parts", lambda r: r["parts"], "parts", words=True),
        Field[Row]("before trimming", lambda r: r["before trimming"], "before", words=True),
        Field[Row]("most there", lambda r: _share(r["most before trimming"]), "most"),
        Field[Row]("after trimming", lambda r: r["after trimming"], "after", words=True),
        Field[Row]("most there", lambda r: _share(r["most after trimming"]), "most"),
    ]
    note = "Smallest size measured at which half of the gap is closed, with its class; - for none."
    return Grid.of("Smallest sizes", fields, [("", smallest_sizes(rows))], note=note)


def _grid(title: str, rows: Sequence[Row]) -> Grid:
    fields = [
        *_where(),
        Field[Row]("treatment", lambda r: r["treatment"], "treatment", words=True),
        Field[Row]("gap, nats", lambda r: f"{r['gap_nats']:.3f}", "gap"),
        Field[Row]("perplexity", lambda r: f"{r['ppl_before']:.2f} > {r['ppl_after']:.2f}", "ppl"),
        Field[Row]("share closed", _interval, "closed"),
        Field[Row]("p (Holm)", lambda r: f"{r['p_value']:.2g}", "p"),
        Field[Row](
            "load TV", lambda r: f"{r['load_tv_before']:.2f} > {r['load_tv_after']:.2f}", "load TV"
        ),
        Field[Row]("steps kept", lambda r: r["steps"], "", words=True),
    ]
    return Grid.of(title, fields, [("", rows)])


def _treatments(title: str, rows: Sequence[Row]) -> Grid:
    """Return shares by place and treatment, a row a place."""
    names = list(dict.fromkeys(r["treatment"] for r in rows))
    places: dict[tuple[Any, ...], dict[str, Row]] = {}
    for r in rows:
        places.setdefault((r["model"], r["error"], r["size"]), {})[r["treatment"]] = r
    fields = [
        Field[dict[str, Row]](f.title, _of_first(f), f.narrow, words=f.words) for f in _where()[:4]
    ]
    fields.append(
        Field("noisy perplexity", lambda p: f"{next(iter(p.values()))['ppl_before']:.2f}", "noisy")
    )
    fields += [Field[dict[str, Row]](name, _of(name), name) for name in names]
    by_model: dict[str, list[dict[str, Row]]] = {}
    for (model, *_), place in places.items():
        by_model.setdefault(model, []).append(place)
    return Grid.of(title, fields, by_model.items(), note="Share of the gap closed, in nats.")


def _of_first(field: Field[Row]) -> Any:
    return lambda place: field.show(next(iter(place.values())))


def _of(name: str) -> Any:
    return lambda place: _share(place[name]["share_closed"]) if name in place else "-"


def _where() -> list[Field[Row]]:
    return [
        Field[Row]("model", lambda r: r["model"], "model", words=True),
        Field[Row]("error", lambda r: r["error"], "error", words=True),
        Field[Row]("size", lambda r: f"{r['size']:g}", "size"),
        Field[Row]("class", lambda r: r["size_class"], "class", words=True),
        Field[Row]("parts", lambda r: r["parts"], "parts", words=True),
    ]


def _interval(r: Row) -> str:
    if math.isnan(r["share_closed"]):
        return "destroyed" if r["destroyed"] else "-"
    return f"{r['share_closed']:.0%} ({r['share_low']:.0%} to {r['share_high']:.0%})"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
