"""Tables of the study's report: its cells, the form of the paper, the best quantiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cimsim.report.blocks import Block, Field, Grid, Text
from romer.study.summary import StudySummary

__all__ = ["cell_grid", "paper_grid", "quantiser_blocks"]

Row = dict[str, Any]


def _field(title: str, show: Callable[[Row], str], *, words: bool = False) -> Field[Row]:
    """Return a field that page and markdown call the same."""
    return Field(title, show, title, words)


def _sigma(r: Row) -> str:
    sigma = "own" if np.isnan(r["sigma_lsb"]) else f"{r['sigma_lsb']:g}"
    return f"{sigma} (L)" if r["level_l"] else sigma


MODEL = _field("model", lambda r: str(r["model"]), words=True)
ANALOG = _field("analog", lambda r: str(r["analog_parts"]), words=True)
SIGMA = _field("sigma", _sigma)


def paper_grid(rows: Sequence[Row]) -> Grid:
    """Show one line per family and sigma, all analog: clean, noisy, our reading, combined."""
    cells: dict[tuple[str, float], dict[str, Row]] = {}
    for r in rows:
        if r["role"] == "primary" and "attention" in r["analog_parts"]:
            cells.setdefault((r["model"], r["sigma_lsb"]), {})[r["calibrator"]] = r

    def after(name: str) -> Callable[[Row], str]:
        def show(first: Row) -> str:
            r = cells[first["model"], first["sigma_lsb"]].get(name)
            return "-" if r is None else f"{r['ppl_calibrated']:.2f} ({-r['reduction']:+.1%})"

        return show

    return Grid.of(
        "Perplexity, every matrix analog",
        (
            MODEL,
            SIGMA,
            _field("clean", lambda r: f"{r['ppl_clean']:.2f}"),
            _field("noisy", lambda r: f"{r['ppl_noisy']:.2f}"),
            _field("romer (our reading)", after("romer")),
            _field("romer_plus", after("romer_plus")),
        ),
        (("", [next(iter(found.values())) for found in cells.values()]),),
    )


def quantiser_blocks(summary: StudySummary) -> tuple[Block, ...]:
    """Say, cell by cell, what better stored codes alone win back, and what is won on top."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for r in summary.rows:
        better = r["scale"] != "per_matrix"
        name = {
            ("primary", "romer_plus", False): "plus",
            ("ablation", "romer_plus", True): "top",
            ("ablation", "quantiser", True): "quantiser",
        }.get((r["role"], r["calibrator"], better))
        if name:
            place = (r["model"], r["analog_parts"], r["sigma_lsb"], r["level_l"])
            kept = found.setdefault(place, {})
            # The default cell has every quantiser: the best one is the one built upon.
            if (
                name != "quantiser"
                or name not in kept
                or r["nll_calibrated"] < kept[name]["nll_calibrated"]
            ):
                kept[name] = r
    whole = [
        {**kept["plus"], **{f"{n}_closed": kept[n]["gap_closure_nll"] for n in kept},
         "best": kept["quantiser"]["scale"]}
        for kept in found.values() if len(kept) == 3
    ]  # fmt: skip
    if not whole:
        return (Text("Not measured."),)
    return (
        Text(
            "Errors are in LSB of the stored code, so a smaller LSB is less error: this baseline "
            "needs other codes in all cells and no calibration. Share of the gap closed, in nats; "
            "the last column is of the gap that the quantiser leaves."
        ),
        Grid.of(
            "Share of the gap closed",
            (
                MODEL,
                ANALOG,
                SIGMA,
                _field(
                    "best quantiser alone", lambda r: f"{r['quantiser_closed']:.0%} ({r['best']})"
                ),
                _field("romer_plus alone", lambda r: f"{r['plus_closed']:.0%}"),
                _field("romer_plus on top", lambda r: f"{r['top_closed']:.0%}"),
            ),
            (("", whole),),
        ),
    )


def cell_grid(title: str, summary: StudySummary, role: str) -> Grid:
    """Show the cells of one role; a record is a row of summary.csv over that of details.csv."""
    records = [
        {**d, **r} for r, d in zip(summary.rows, summary.details, strict=True) if r["role"] == role
    ]
    fields = (
        MODEL,
        ANALOG,
        SIGMA,
        _field("treatment", _treatment, words=True),
        _field("clean", lambda r: f"{r['ppl_clean']:.2f}"),
        _field("integer, ADC only", lambda r: f"{r['ppl_ideal_int']:.2f}, {r['ppl_adc_only']:.2f}"),
        _field("noisy", lambda r: f"{r['ppl_noisy']:.2f}"),
        _field(
            "after [95 %]",
            lambda r: f"{r['ppl_calibrated']:.2f} [{r['ci_low']:.2f}, {r['ci_high']:.2f}]",
        ),
        _field(
            "median, worst chip",
            lambda r: f"{r['ppl_calibrated_median']:.2f}, {r['ppl_calibrated_worst']:.2f}",
        ),
        _field(
            "cut [95 % over documents]",
            lambda r: (
                f"{r['reduction']:.1%} "
                f"[{r['reduction_text_low']:.1%}, {r['reduction_text_high']:.1%}]"
            ),
        ),
        _field(
            "change of the loss, nats [95 %, paired]",
            lambda r: (
                f"{r['loss_change_mean']:+.4f} "
                f"[{r['loss_change_ci_low']:+.4f}, {r['loss_change_ci_high']:+.4f}]"
            ),
        ),
        _field("closed (ppl)", lambda r: f"{r['gap_closure_ppl']:.0%}"),
        _field("closed (nats)", lambda r: f"{r['gap_closure_nll']:.0%}"),
        _field("p", lambda r: f"{r['p_value']:.3g}"),
        _field(
            "top-k",
            lambda r: f"{r['topk_agreement_noisy']:.3f} -> {r['topk_agreement_calibrated']:.3f}",
        ),
        _field("load TV", lambda r: f"{r['load_tv_noisy']:.3f} -> {r['load_tv_calibrated']:.3f}"),
        _field("digital operations per token", lambda r: f"{r['digital_ops_per_token']:.0f}"),
    )
    return Grid.of(title, fields, (("", records),))


def _treatment(r: Row) -> str:
    """Return the calibrator and what sets the cell apart."""
    marks = [
        "" if r["guarded"] else "unguarded",
        r["compared"],
        f"{r['calibration_tokens']} tokens" if r["compared"] == "calibration size" else "",
        f"mismatch {r['noise_mismatch']:+.0%}" if r["noise_mismatch"] else "",
        "" if r["scale"] == "per_matrix" else r["scale"],
    ]
    found = ", ".join(m for m in marks if m)
    return f"{r['calibrator']} ({found})" if found else str(r["calibrator"])
