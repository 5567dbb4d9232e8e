"""Figures of the study: gap closure of the primary cells, accuracy against digital work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["draw_closures", "draw_front"]

Row = dict[str, Any]

SALT = "romer-study"  # of the ids in an SVG, so that equal figures have equal bytes


def draw_closures(rows: Sequence[Row], path: Path) -> None:
    """Draw the share of the gap that every calibrator closes, in nats, by cell."""
    primary = [r for r in rows if r["role"] == "primary"]
    names = list(dict.fromkeys(r["calibrator"] for r in primary))
    places = list(dict.fromkeys(_place(r) for r in primary))
    figure, axes = _figure(max(6.0, 0.45 * len(places) + 3.0))
    width = 0.8 / max(1, len(names))
    for k, name in enumerate(names):
        values = {_place(r): r["gap_closure_nll"] for r in primary if r["calibrator"] == name}
        at = [i + (k - (len(names) - 1) / 2) * width for i in range(len(places))]
        label = f"{name} (our reading)" if name == "romer" else name
        axes.bar(at, [values.get(p, float("nan")) for p in places], width, label=label)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(places)), places, rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("share of the gap closed (nats)")
    axes.legend(fontsize=8, frameon=False)
    _save(figure, path)


def draw_front(rows: Sequence[Row], path: Path) -> None:
    """Draw calibrated perplexity against digital operations a token, default cell.

    One dot a treatment of the noisy chip; what has other codes in all cells is red.
    """
    figure, axes = _figure(8.0)
    guarded = [r for r in rows if r["role"] == "ablation" and r["guarded"]]
    shown = [r for r in guarded if _place(r) == _place(guarded[0])]
    shown = [r for r in shown if r["scale"] == "per_matrix" or r["calibrator"] == "quantiser"]
    for r in shown:
        better = r["scale"] != "per_matrix"
        axes.plot(
            r["digital_ops_per_token"], r["ppl_calibrated"], "o",
            color="C3" if better else "C0", markersize=4,
        )  # fmt: skip
        axes.annotate(
            r["scale"] if better else r["calibrator"],
            (r["digital_ops_per_token"], r["ppl_calibrated"]), fontsize=6,
            xytext=(3, 2), textcoords="offset points",
        )  # fmt: skip
    if shown:
        axes.axhline(shown[0]["ppl_noisy"], color="C3", linewidth=0.8, label="noisy")
        axes.axhline(shown[0]["ppl_clean"], color="C2", linewidth=0.8, label="clean")
        axes.legend(fontsize=8, frameon=False)
    axes.set_xscale("symlog")
    axes.set_xlim(left=-0.5)
    axes.set_xlabel("digital operations a token")
    axes.set_ylabel("perplexity")
    _save(figure, path)


def _place(row: Row) -> str:
    scope = "digital attention" if "attention" not in row["analog_parts"] else "all analog"
    level = "L" if row["level_l"] else f"{row['sigma_lsb']:g}"
    return f"{row['model'].removesuffix('-tiny')}, {scope}, {level}"


def _figure(width: float) -> tuple[Any, Any]:
    # No global state: a figure of its own, without pyplot.
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(width, 4.0), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> None:
    from matplotlib import rc_context  # noqa: PLC0415

    with rc_context({"svg.hashsalt": SALT}):
        figure.savefig(path, metadata={"Date": None, "Creator": None})
