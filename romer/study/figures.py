"""Figures of the study: gap closure of the primary cells, accuracy against digital work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cimsim.report.canvas import Picture, drawing, picture

__all__ = ["study_figures"]

Row = dict[str, Any]


def study_figures(rows: Sequence[Row]) -> tuple[Picture, ...]:
    """Draw the figures of the study.

    Args:
        rows: of summary.csv.
    """
    return _closures(rows), _treatments(rows), _front(rows)


def _closures(rows: Sequence[Row]) -> Picture:
    """Draw the share of the gap that every calibrator closes, in nats, by cell."""
    primary = [r for r in rows if r["role"] == "primary"]
    names = list(dict.fromkeys(r["calibrator"] for r in primary))
    places = list(dict.fromkeys(_place(r) for r in primary))
    with drawing(max(6.0, 0.45 * len(places) + 3.0), 4.0) as figure:
        axes = figure.add_subplot()
        width = 0.8 / max(1, len(names))
        for k, name in enumerate(names):
            values = {_place(r): r["gap_closure_nll"] for r in primary if r["calibrator"] == name}
            at = [i + (k - (len(names) - 1) / 2) * width for i in range(len(places))]
            label = f"{name} (our reading)" if name == "romer" else name
            axes.bar(at, [values.get(p, float("nan")) for p in places], width, label=label)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(places)), places, rotation=60, ha="right", fontsize=7)
        axes.set_ylabel("share of the gap closed (nats)")
        axes.margins(y=0.25)
        axes.legend(fontsize=8, frameon=False, loc="upper center", ncols=2)
        caption = (
            "Share of the gap between noisy and clean loss that each calibrator closes, by cell."
        )
        return picture(
            figure, "closure", "Gap closure", caption, f"Bars of {len(primary)} cells.", png=False
        )


def _treatments(rows: Sequence[Row]) -> Picture:
    """Draw the perplexity that every guarded treatment of the default cell leaves, the best on top.

    What has other codes in all cells is red: it is no treatment of the noisy chip itself.
    """
    shown = sorted(_default_cell(rows), key=lambda r: -float(r["ppl_calibrated"]))
    with drawing(7.0, max(2.5, 0.19 * len(shown) + 1.0)) as figure:
        axes = figure.add_subplot()
        for y, r in enumerate(shown):
            low, high = r["ci_low"], r["ci_high"]
            color = "C0" if r["scale"] == "per_matrix" else "C3"
            axes.plot([low, high], [y, y], color=color, linewidth=1.0)
            axes.plot(r["ppl_calibrated"], y, "o", color=color, markersize=4)
        axes.set_yticks(range(len(shown)), [_label(r) for r in shown], fontsize=7)
        _reference_lines(axes, shown, axes.axvline)
        if shown:
            span = float(shown[0]["ppl_noisy"]) - float(shown[0]["ppl_clean"])
            axes.set_xlim(
                float(shown[0]["ppl_clean"]) - 0.1 * span, float(shown[0]["ppl_noisy"]) + 0.4 * span
            )
        axes.set_xlabel("perplexity, 95 % interval over chips")
        caption = (
            "Perplexity that every guarded treatment leaves, with its 95 % interval over chips, "
            "the best on top; red: other codes in all cells."
        )
        return picture(
            figure,
            "treatments",
            "Treatments of the default cell",
            caption,
            f"Intervals of {len(shown)} treatments.",
            png=False,
        )


def _front(rows: Sequence[Row]) -> Picture:
    """Draw perplexity against digital operations per token; treatments on the front are named."""
    with drawing(7.0, 4.0) as figure:
        axes = figure.add_subplot()
        shown = [r for r in _default_cell(rows) if r["scale"] == "per_matrix"]
        shown = [r for r in shown if not r["calibrator"].startswith("oracle")]
        best = float("inf")
        for r in sorted(shown, key=lambda r: (r["digital_ops_per_token"], r["ppl_calibrated"])):
            at = (r["digital_ops_per_token"], r["ppl_calibrated"])
            on_front = at[1] < best
            axes.plot(*at, "o", color="C0" if on_front else "0.7", markersize=4)
            if on_front:
                best = at[1]
                axes.annotate(
                    _label(r),
                    at,
                    fontsize=7,
                    xytext=(0, 5),
                    textcoords="offset points",
                    ha="center",
                )
        _reference_lines(axes, shown, axes.axhline)
        axes.set_xscale("symlog")
        axes.set_xlim(left=-0.5)
        axes.set_xlabel("digital operations per token")
        axes.set_ylabel("perplexity")
        caption = (
            "Perplexity against digital operations per token; treatments on the front are named."
        )
        return picture(
            figure,
            "front",
            "Accuracy against digital work",
            caption,
            f"Scatter of {len(shown)} treatments.",
            png=False,
        )


def _default_cell(rows: Sequence[Row]) -> list[Row]:
    """Return guarded treatments of the plan's default cell, the main calibrators included."""
    guarded = [r for r in rows if r["role"] == "ablation" and r["guarded"]]
    if not guarded:
        return []
    here = [
        r
        for r in rows
        if r["role"] in ("primary", "ablation") and r["guarded"] and _place(r) == _place(guarded[0])
    ]
    return [r for r in here if r["scale"] == "per_matrix" or r["calibrator"] == "quantiser"]


def _label(row: Row) -> str:
    if row["calibrator"] == "quantiser":
        return f"quantiser {row['scale']}"
    return "romer (our reading)" if row["calibrator"] == "romer" else str(row["calibrator"])


def _reference_lines(axes: Any, shown: Sequence[Row], draw: Any) -> None:
    if shown:
        draw(shown[0]["ppl_noisy"], color="C3", linewidth=0.8, label="noisy")
        draw(shown[0]["ppl_clean"], color="C2", linewidth=0.8, label="clean")
        axes.legend(fontsize=8, frameon=False)


def _place(row: Row) -> str:
    scope = "digital attention" if "attention" not in row["analog_parts"] else "all analog"
    level = "L" if row["level_l"] else f"{row['sigma_lsb']:g}"
    return f"{row['model'].removesuffix('-tiny')}, {scope}, {level}"
