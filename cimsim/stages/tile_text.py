"""The page on a tile as plain data and as lines of at most 80 columns."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from cimsim.stages.tile_page import TilePage
from cimsim.units import FJ_PER_PJ, PS_PER_NS

__all__ = ["as_dict", "as_lines"]

WIDTH = 80
_MOST_COMPONENTS = 8


def as_dict(page: TilePage) -> dict[str, Any]:
    """Return every figure of the page; units are in the names, errors are relative."""
    study, cost = page.study, page.cost
    return {
        "config": page.config.name,
        "matrix": page.matrix,
        "n_in": page.shape[0],
        "n_out": page.shape[1],
        "tokens": page.tokens,
        "seed": page.seed,
        "sqnr_db": study.sqnr_db,
        "effective_bits": study.effective_bits,
        "clip_rate": study.clip_rate,
        "error_observed": study.error,
        "error_predicted": study.predicted.error if study.predicted.uniform else None,
        "predicted_by_source": study.predicted.by_source,
        "not_predicted": list(study.predicted.left_out),
        "error_formats": study.error_formats,
        "error_float": study.error_float,
        "undefined": list(study.undefined),
        "sources": [
            {"source": s.name, "alone": s.alone, "without": s.without} for s in study.sources
        ],
        "folds": study.folds,
        "adc": {
            "bits": page.config.tile.adc.bits,
            "range": page.config.tile.adc.range.model_dump(),
            "range_levels": study.range_levels,
            "step_levels": study.step_levels,
            "recommended_bits": study.recommended_bits,
            "recommended_range": study.recommended_range,
            "error_by_bits": {str(b): e for b, e in study.error_by_bits.items()},
            "error_by_range": study.error_by_range,
        },
        "mvm": {
            "crossbars": cost.crossbars,
            "conversions": cost.conversions,
            "interval_ns": cost.interval_ps / PS_PER_NS,
            "latency_ns": cost.latency_ps / PS_PER_NS,
            "energy_pj": cost.total_fj / FJ_PER_PJ,
            "energy_pj_by_component": {n: e / FJ_PER_PJ for n, e in cost.energy_fj.items()},
            "input_bit_density": study.counts.input_bit_density,
            "mean_level_fraction": study.counts.mean_level_fraction,
        },
        "notes": list(page.notes),
    }


def as_lines(page: TilePage) -> list[str]:
    """Return the page as text."""
    lines = [*_head(page), "", *_sources(page), "", *_converter(page), "", *_mvm(page)]
    for note in page.notes:
        lines += wrap(f"note: {note}", WIDTH, subsequent_indent="  ")
    return [line for text in lines for line in _fold(text)]


def _fold(text: str) -> list[str]:
    return [text] if len(text) <= WIDTH else wrap(text, WIDTH, subsequent_indent="    ")


def _head(page: TilePage) -> list[str]:
    study = page.study
    predicted = f"predicted {_number(study.predicted.error, '.4f')}"
    if not study.predicted.uniform:
        predicted = "not predicted: rounding is not uniform"
    n_in, n_out = page.shape
    lines = [
        f"{page.config.name}: {page.matrix} matrix of {n_in} x {n_out}, {page.tokens} normal "
        f"inputs, seed {page.seed}",
        f"  SQNR against float     {_number(study.sqnr_db, '.1f'):>10} dB    "
        f"effective bits {_number(study.effective_bits, '.2f')}",
        f"  clipped conversions    {_number(study.clip_rate, '.3%'):>10}       "
        f"folded mode {'holds' if study.folds else 'does not hold'}",
        f"  error of the formats   {_number(study.error_formats, '.4f'):>10}       "
        "rms over rms of the outputs",
        f"  error of the hardware  {_number(study.error, '.4f'):>10}       {predicted}",
        *(f"  -: {reason}" for reason in study.undefined),
    ]
    if study.predicted.left_out:
        lines.append(f"  no closed form for: {', '.join(study.predicted.left_out)}")
    return lines


def _number(value: float | None, form: str) -> str:
    """Write a figure, or "-" where it is undefined."""
    return "-" if value is None else format(value, form)


def _sources(page: TilePage) -> list[str]:
    study = page.study
    if not study.sources:
        return ["  no source of error beyond the formats"]
    shares = {s.name for s in study.sources} & {"stuck", "cell_shift", "warm_cells"}
    lines = [f"  {'error by source':<22}{'alone':>10}{'all but it':>12}{'predicted':>12}"]
    for source in study.sources:
        predicted = study.predicted.by_source.get(source.name)
        # What cells do is predicted together.
        known = predicted is not None and not (shares and source.name == "cells")
        known &= study.predicted.uniform
        alone, without = (_number(e, ".4f") for e in (source.alone, source.without))
        text = _number(predicted if known else None, ".4f")
        lines.append(f"  {source.label:<22}{alone:>10}{without:>12}{text:>12}")
    together = study.predicted.by_source.get("cells")
    if shares and study.predicted.uniform and together is not None:
        label = "cells, stuck included" if shares == {"stuck"} else "cells, all together"
        lines.append(f"  {label:<22}{'-':>10}{'-':>12}{together:>12.4f}")
    return lines


def _converter(page: TilePage) -> list[str]:
    study, adc = page.study, page.config.tile.adc
    now = (
        f"  ADC now: {adc.bits} bits over {study.range_levels:.5g} levels, "
        f"{study.step_levels:.4g} levels per code"
    )
    if study.recommended_bits is None or study.recommended_range is None:
        return [now, "  recommended bits   -", "  recommended range  -"]
    best_range = study.error_by_range[study.recommended_range]
    around = range(study.recommended_bits - 2, study.recommended_bits + 2)
    shown = {b: study.error_by_bits[b] for b in around if b in study.error_by_bits}
    cells = ", ".join(f"{e:.4f} at {b}" for b, e in shown.items())
    return [
        now,
        f"  recommended bits   {study.recommended_bits}",
        f"  error by bits      {cells}",
        f"  recommended range  {study.recommended_range}: error {best_range:.4f} at "
        f"{adc.bits} bits",
    ]


def _data_dependent(page: TilePage) -> list[str]:
    """Say what the inputs made of conversions, where they decide."""
    counts, tile = page.study.counts, page.config.tile
    lines = []
    if tile.input.skip_zeros:
        lines.append(f"  {counts.skipped_share:.1%} of reads skipped: no row of theirs is driven")
    if tile.dac.recovery_bits is not None:
        lines.append(f"  {counts.recovered_share:.1%} of columns converted again, out of range")
    if tile.adc.search == "lsb_first":
        lines.append(
            f"  {counts.search_cycles:.3g} comparisons a conversion, where a binary search takes "
            f"{tile.adc.bits}"
        )
    return lines


def _mvm(page: TilePage) -> list[str]:
    cost, counts = page.cost, page.study.counts
    plural = "" if cost.crossbars == 1 else "s"
    lines = [
        f"  one MVM on {cost.crossbars} crossbar{plural}: {cost.total_fj / FJ_PER_PJ:.4g} pJ "
        f"dynamic, {cost.interval_ps / PS_PER_NS:g} ns each, "
        f"{cost.latency_ps / PS_PER_NS:g} ns the first",
        *_data_dependent(page),
        f"  {cost.conversions} conversions, word lines driven {counts.input_bit_density:.1%} of "
        f"the time, mean conductance {counts.mean_level_fraction:.1%}",
    ]
    rows = list(cost.energy_fj.items())
    kept, rest = rows[:_MOST_COMPONENTS], rows[_MOST_COMPONENTS:]
    if rest:
        kept.append((f"{len(rest)} more", sum(energy for _, energy in rest)))
    for name, energy in kept:
        lines.append(f"    {name:<22}{energy / FJ_PER_PJ:>12.4g} pJ{energy / cost.total_fj:>9.1%}")
    lines.append("  leakage is a chip's, not an MVM's: see cimsim peak and cimsim run")
    return lines
